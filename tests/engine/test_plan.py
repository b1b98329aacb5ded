from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import penstock as ps
from penstock._plan import Plan, plan
from penstock._spec import Node


def planned(pipeline: ps.Pipeline[Any]) -> Plan:
    return plan(pipeline._node)


def names(pipeline: ps.Pipeline[Any]) -> list[list[str]]:
    return [[node.name for node in segment.stages] for segment in planned(pipeline).segments]


def capacities(pipeline: ps.Pipeline[Any]) -> list[int]:
    return [inlet.capacity for inlet in planned(pipeline).channels]


@ps.producer
async def letters(send: ps.Sender[str]) -> None:
    await send("a")


@ps.producer(chunked=True)
async def words(send: ps.Sender[str]) -> None:
    await send.chunk(["a"])


@ps.transform
async def forward(receive: ps.Receiver[Any], send: ps.Sender[Any]) -> None:
    async for item in receive:
        await send(item)


async def answer(item: Any) -> Any:
    return item


numbers = ps.from_iterable(range(3))


def test_element_operators_and_a_fused_sink_are_one_task() -> None:
    assert names(numbers.map(str).filter(len).take(1).to(ps.collect())) == [
        ["from_iterable", "map(str)", "filter(len)", "take", "collect"]
    ]


def test_a_task_operator_starts_a_task_and_fuses_what_follows() -> None:
    assert names(numbers.map(str).map_async(answer, 2).map(len).to(ps.count())) == [
        ["from_iterable", "map(str)"],
        ["map_async(answer)", "map(len)", "count"],
    ]


def test_a_buffer_starts_a_task() -> None:
    pipeline = numbers.buffer(7).map(str).to(ps.count())
    assert names(pipeline) == [["from_iterable"], ["buffer", "map(str)", "count"]]
    assert capacities(pipeline) == [7]


def test_a_source_of_single_items_is_gathered_by_a_relay_before_it_is_fused() -> None:
    assert names(letters().map(str).to(ps.count())) == [["letters"], ["map(str)", "count"]]
    assert names(letters().map_async(answer, 2).to(ps.count())) == [
        ["letters"],
        ["map_async(answer)", "count"],
    ]


def test_a_chunked_source_is_fused() -> None:
    assert names(words().map(str).to(ps.count())) == [["words", "map(str)", "count"]]


def test_a_transform_sends_single_items_too() -> None:
    assert names(numbers.via(forward).map(str).to(ps.count())) == [
        ["from_iterable"],
        ["forward"],
        ["map(str)", "count"],
    ]


def test_merged_streams_share_one_channel() -> None:
    pipeline = ps.merge(numbers.map(str), letters(), words()).to(ps.count())
    assert names(pipeline) == [
        ["from_iterable", "map(str)"],
        ["letters"],
        ["words"],
        ["merge", "count"],
    ]
    result = planned(pipeline)
    assert [segment.outlets for segment in result.segments] == [[0], [0], [0], []]
    assert result.feeds(0) == list(result.segments[:3])
    assert result.reader(0) is result.segments[3]


def test_a_buffer_directly_before_a_task_is_that_tasks_channel() -> None:
    pipeline = numbers.buffer(2, "conflate").map_async(answer, 2).to(ps.count())
    assert names(pipeline) == [["from_iterable"], ["buffer", "map_async(answer)", "count"]]
    assert capacities(pipeline) == [2]


def test_two_buffers_are_two_channels() -> None:
    assert capacities(numbers.buffer(2).buffer(3).to(ps.for_each(print))) == [2, 3]


def test_an_ordinary_channel_behind_a_small_buffer_holds_no_more_than_it() -> None:
    assert capacities(numbers.buffer(2).map(str).to(ps.for_each(print))) == [2, 2]
    assert capacities(numbers.buffer(5000).map(str).to(ps.for_each(print))) == [5000, 1024]


def test_each_stage_of_a_stream_used_twice_is_two_stages() -> None:
    pipeline = ps.merge(numbers, numbers).to(ps.count())
    nodes = [node for segment in planned(pipeline).segments for node in segment.stages]
    assert [node.name for node in nodes] == ["from_iterable", "from_iterable", "merge", "count"]
    assert len({id(node) for node in nodes}) == 4


def test_the_reader_of_a_channel() -> None:
    result = planned(letters().map(str).buffer(3).to(ps.for_each(print)))
    readers = [result.reader(number).stages[0].name for number in range(len(result.channels))]
    assert readers == ["map(str)", "buffer"]


def test_a_plan_ends_in_a_sink() -> None:
    node: Node = numbers._node
    with pytest.raises(ps.PipelineError, match="must end in a sink"):
        plan(node)


# Branches and joins


def test_a_split_joins_its_segment_and_each_branch_starts_one() -> None:
    one, two = numbers.map(str).broadcast(2, buffer=7)
    pipeline = ps.gather(one.map(len).to(ps.count()), two.to(ps.collect()))
    assert names(pipeline) == [
        ["from_iterable", "map(str)", "broadcast"],
        ["broadcast[0]", "map(len)", "count"],
        ["broadcast[1]", "collect"],
    ]
    assert capacities(pipeline) == [7, 7]
    result = planned(pipeline)
    assert result.segments[0].outlets == [0, 1]
    assert result.ends == result.segments[1:]
    assert result.gathered


def test_a_branch_is_the_channel_of_the_task_or_the_buffer_behind_it() -> None:
    one, two, three = numbers.broadcast(3)
    pipeline = ps.gather(
        one.map_async(answer, 2).to(ps.count()),
        two.buffer(5, "drop_oldest").to(ps.for_each(print)),
        three.buffer(9).map(str).to(ps.count()),
    )
    assert names(pipeline)[1:] == [
        ["broadcast[0]", "map_async(answer)", "count"],
        ["broadcast[1]", "buffer", "for_each(print)"],
        ["broadcast[2]", "buffer", "map(str)", "count"],
    ]
    assert [inlet.capacity for inlet in planned(pipeline).channels] == [1024, 5, 9]
    assert [segment.gate.name for segment in planned(pipeline).segments[1:]] == [
        "broadcast[0]",
        "buffer",
        "buffer",
    ]


def test_a_second_buffer_behind_a_branch_is_a_channel_of_its_own() -> None:
    (one,) = numbers.broadcast(1)
    pipeline = one.buffer(5).buffer(3, "drop_oldest").to(ps.count())
    assert names(pipeline)[1:] == [["broadcast[0]", "buffer"], ["buffer", "count"]]
    assert capacities(pipeline) == [5, 3]


def test_a_join_is_a_task_with_a_channel_for_each_input() -> None:
    pipeline = ps.zip(numbers.map(str), letters(), numbers.buffer(3)).map(len).to(ps.count())
    assert names(pipeline) == [
        ["from_iterable", "map(str)"],
        ["letters"],
        ["from_iterable"],
        ["buffer"],
        ["zip", "map(len)", "count"],
    ]
    result = planned(pipeline)
    join = result.segments[-1]
    assert len(join.inlets) == 3
    assert [result.feeds(number)[0].stages[0].name for number in join.inlets] == [
        "from_iterable",
        "letters",
        "buffer",
    ]
    assert [result.channels[number].capacity for number in join.inlets] == [1024, 1024, 3]


def test_branches_that_meet_again_share_one_source() -> None:
    one, two = numbers.broadcast(2)
    pipeline = one.map(str).zip(two).to(ps.count())
    assert names(pipeline) == [
        ["from_iterable", "broadcast"],
        ["broadcast[0]", "map(str)"],
        ["broadcast[1]"],
        ["zip", "count"],
    ]


def test_a_split_of_a_source_of_single_items_is_behind_a_relay() -> None:
    one, two = letters().broadcast(2)
    pipeline = ps.gather(one.to(ps.count()), two.to(ps.count()))
    assert names(pipeline) == [
        ["letters"],
        ["broadcast"],
        ["broadcast[0]", "count"],
        ["broadcast[1]", "count"],
    ]


def test_route_is_a_partition_with_a_merge_behind_it() -> None:
    routed = numbers.route(abs, {1: lambda s: s.map(str)}, otherwise=lambda s: s.map(str))
    assert names(routed.to(ps.count())) == [
        ["from_iterable", "route(abs)", "route"],
        ["route[1]", "map(str)"],
        ["route.otherwise", "map(str)"],
        ["merge", "count"],
    ]


def serving(pipeline: ps.Pipeline[Any], number: int) -> list[str]:
    """What starts when the last segment first asks its n-th input for items."""
    result = planned(pipeline)
    inlet = result.segments[-1].inlets[number]
    return [segment.stages[0].name for segment in result.serving_only(inlet)]


def test_what_serves_only_one_input_of_a_concat_is_all_before_it() -> None:
    second = words().merge(letters().map_async(answer, 2))
    pipeline = numbers.concat(second.buffer(3)).to(ps.count())
    assert serving(pipeline, 0) == ["from_iterable"]
    assert serving(pipeline, 1) == ["words", "letters", "map_async(answer)", "merge", "buffer"]


def test_what_others_need_too_and_what_is_behind_it_does_not() -> None:
    one, two = words().broadcast(2)
    pipeline = numbers.concat(one.map(str).buffer(3)).merge(two).to(ps.count())
    result = planned(pipeline)
    (join,) = [each for each in result.segments if each.stages[0].name == "concat"]
    assert [s.stages[0].name for s in result.serving_only(join.inlets[0])] == ["from_iterable"]
    assert result.serving_only(join.inlets[1]) == []


def test_a_split_whose_branches_all_lead_there_does() -> None:
    one, two = words().broadcast(2)
    pipeline = numbers.concat(one.zip(two)).to(ps.count())
    assert serving(pipeline, 1) == ["words", "broadcast[0]", "broadcast[1]", "zip"]


def test_a_branch_that_goes_nowhere_may_be_drawn_but_not_run() -> None:
    one, _two = numbers.broadcast(2)
    end = one.to(ps.count())._node
    assert [s.outlets for s in plan(end, drawing=True).segments] == [[0, None], []]
    with pytest.raises(ps.PipelineError, match="broadcast: branch 2 of 2 goes nowhere"):
        plan(end)


def test_a_branch_used_twice_is_refused_where_it_is_drawn_too() -> None:
    one, _two = numbers.broadcast(2)
    with pytest.raises(ps.PipelineError, match=r"broadcast\[0\]: is used twice.*test_plan.py"):
        one.merge(one.map(str)).graph()


def refusals(pipeline: ps.Pipeline[Any]) -> list[str]:
    with pytest.raises(ps.PipelineError) as caught:
        planned(pipeline)
    found = [finding for finding in pipeline.check() if finding.level == "error"]
    assert str(caught.value) in [str(each).removeprefix("error: ") for each in found]
    return [each.problem for each in found]


def test_two_sinks_of_a_run_do_not_write_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "same"
    (tmp_path / "link").symlink_to("same")
    write = ps.write_lines(file)
    others: list[ps.Sink[Any, int]] = [
        write,
        ps.write_jsonl(file),
        ps.write_lines(tmp_path / "link"),
    ]
    for other in others:
        pipeline = ps.gather(numbers.map(str).to(write), numbers.to(other))
        (problem,) = refusals(pipeline)
        assert problem == (
            f"writes {file}, and so does write_lines(same) ({__file__}:{line_of(write, pipeline)});"
            " one would replace what the other wrote: give each a file of its own"
        )


def line_of(sink: ps.Sink[Any, Any], pipeline: ps.Pipeline[Any]) -> int:
    where = next(node.where for node in pipeline._node.inputs if node.op is sink.op)
    assert where is not None
    return where.line


def test_sinks_beside_the_stream_write_no_file_of_another(tmp_path: Path) -> None:
    write = ps.write_jsonl(tmp_path / "same")
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "same"))
    late = numbers.key_by(int).window(ps.tumbling(1), time=float, late=write).count()
    pipelines = [
        numbers.map(str, errors=letters).to(write),
        numbers.map(str, errors=letters).to(ps.for_each(print, errors=ps.dead_letter(write))),
        late.to(write),
        numbers.map(str, errors=letters).zip(late).to(ps.collect()),
    ]
    for pipeline in pipelines:
        (problem,) = refusals(pipeline)
        assert problem.startswith(f"writes {tmp_path}/same, and so does write_jsonl(same) (")


def test_stages_that_share_a_sink_write_one_file(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "same"))
    stream = numbers.map(str, errors=letters).filter(len, errors=letters)
    planned(ps.gather(stream.to(ps.count()), stream.to(ps.write_lines(tmp_path / "other"))))


def test_a_file_may_be_read_and_written(tmp_path: Path) -> None:
    file = tmp_path / "same"
    file.write_text("b\na\n")
    assert ps.run(ps.read_lines(file).map(str.upper).to(ps.write_lines(file))) == 2
    assert file.read_text() == "B\nA\n"


def test_standard_input_is_read_by_one_stage() -> None:
    lines = ps.stdin_lines()
    for pipeline in (
        ps.gather(lines.to(ps.count()), lines.to(ps.collect())),
        ps.concat(lines, ps.stdin_lines()).to(ps.count()),
    ):
        (problem,) = refusals(pipeline)
        assert problem.startswith(f"reads standard input, and so does stdin_lines ({__file__}:")
        assert problem.endswith(
            "each would miss what the other took: .broadcast(2) makes two of one"
        )
    both = lines.broadcast(2)
    planned(ps.gather(*(each.to(ps.count()) for each in both)))
