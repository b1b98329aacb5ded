from __future__ import annotations

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
    assert [segment.outlet for segment in result.segments] == [0, 0, 0, None]
    assert result.upstream(result.segments[3]) == list(result.segments[:3])


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


def test_the_reader_of_a_segments_channel() -> None:
    result = planned(letters().map(str).buffer(3).to(ps.for_each(print)))
    readers = [result.reader(segment) for segment in result.segments]
    assert [reader and reader.name for reader in readers] == ["map(str)", "buffer", None]


def test_a_plan_ends_in_a_sink() -> None:
    node: Node = numbers._node
    with pytest.raises(ps.PipelineError, match="must end in a sink"):
        plan(node)
