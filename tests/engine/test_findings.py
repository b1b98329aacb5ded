"""What can be said against a pipeline without running it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import penstock as ps
from penstock._findings import findings

numbers = ps.from_iterable(range(3))
ticks = ps.every(1)


@ps.transform
async def first_few(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for item in receive:
        await send(item)
        if item > 3:
            return


def levels(pipeline: ps.Pipeline[Any]) -> list[tuple[str, str]]:
    return [(finding.level, finding.stage) for finding in pipeline.check()]


@pytest.mark.parametrize(
    "pipeline",
    [
        numbers.to(ps.collect()),
        ticks.to(ps.count()),
        ticks.map(str).to(ps.for_each(print)),
        ps.every(1, count=5).to(ps.collect()),
        ticks.take(3).to(ps.collect()),
        ticks.take_while(lambda n: n < 3).map(str).buffer(3).to(ps.collect()),
        ticks.via(first_few).to(ps.collect()),
        ps.zip(ticks, numbers).to(ps.collect()),
        ps.merge(ticks.take(3), numbers).to(ps.collect()),
        ps.concat(numbers, ps.every(1, 3)).to(ps.collect()),
        ticks.distinct().to(ps.count()),
        ticks.key_by(lambda n: n % 3).scan(0, max).to(ps.drain()),
        numbers.map(str).to(ps.write_lines("numbers")),
    ],
)
def test_nothing_is_wrong(pipeline: ps.Pipeline[Any]) -> None:
    assert pipeline.check() == ()


@pytest.mark.parametrize(
    "stream",
    [
        ticks,
        ps.from_iterable(itertools.count()),
        ps.from_iterable(itertools.cycle("ab")),
        ticks.map(str).filter(len).batch(3).buffer(5),
        ps.merge(numbers, ticks),
        ps.concat(ticks, numbers),
        ps.zip(ticks, ps.every(2)),
        ps.follow("a.log"),
        ticks.partition(lambda n: n % 2).matching,
    ],
)
def test_a_list_of_what_never_ends(stream: ps.Stream[Any]) -> None:
    (finding,) = [each for each in stream.to(ps.collect()).check() if each.level != "error"]
    assert (finding.level, finding.stage) == ("warning", "collect")
    assert finding.problem.startswith("its memory grows with the stream, and ")
    assert finding.problem.endswith(" never ends")
    assert finding.where is not None
    assert finding.where.file == __file__


def test_the_source_that_never_ends_is_named() -> None:
    (finding,) = ps.merge(numbers, ps.every(0.5).map(str)).to(ps.collect()).check()
    assert finding.problem == "its memory grows with the stream, and every(0.5) never ends"


def test_a_sink_beside_the_stream_grows_as_well() -> None:
    failed = ps.dead_letter(ps.collect())
    assert levels(ticks.map(int, errors=failed).to(ps.drain())) == [("warning", "collect")]
    assert levels(numbers.map(int, errors=failed).to(ps.drain())) == []


@pytest.mark.parametrize(
    ("stage", "pipeline"),
    [
        ("distinct(<lambda>)", numbers.distinct(lambda n: n, max_keys=None).to(ps.count())),
        (
            "key_by(<lambda>).scan(max)",
            numbers.key_by(lambda n: n, max_keys=None).scan(0, max).to(ps.count()),
        ),
    ],
)
def test_keys_without_a_bound_whatever_the_source_is(
    stage: str, pipeline: ps.Pipeline[Any]
) -> None:
    (finding,) = pipeline.check()
    assert (finding.level, finding.stage) == ("warning", stage)
    assert "its memory grows with the number of keys: max_keys" in finding.problem


def test_a_file_that_would_never_appear(tmp_path: Path) -> None:
    (finding,) = ticks.map(str).to(ps.write_lines(tmp_path / "ticks.txt")).check()
    assert (finding.level, finding.stage) == ("hint", "write_lines(ticks.txt)")
    assert finding.problem.startswith(
        "the file appears when the stream has ended, and every(1) never does; "
    )


def test_what_can_not_be_planned_is_an_error() -> None:
    one, _two = ticks.broadcast(2)
    (finding,) = one.to(ps.count()).check()
    assert finding.level == "error"
    assert "goes nowhere" in finding.problem
    assert finding.where is not None
    assert finding.where.file == __file__


def test_all_errors_of_a_pipeline_are_told_at_once() -> None:
    one, two, _three = numbers.broadcast(3)
    matching, _others = one.partition(bool)
    zipped = ps.zip(matching, two).to(ps.collect())
    assert levels(zipped) == [("error", "broadcast"), ("error", "partition"), ("error", "zip")]


def test_branches_that_could_wait_for_each_other_are_an_error() -> None:
    one, two = numbers.broadcast(2)
    assert levels(ps.zip(one.filter(lambda n: n > 1), two).to(ps.count())) == [("error", "zip")]
    enough = ps.zip(one.filter(lambda n: n > 1), two.buffer(5000)).to(ps.count())
    assert levels(enough) == [("hint", "zip")]  # if it is enough


def test_each_end_of_a_gathered_pipeline() -> None:
    one, two = ticks.broadcast(2)
    both = ps.gather(one.to(ps.collect()), two.to(ps.collect()))
    assert levels(both) == [("warning", "collect"), ("warning", "collect")]


def test_as_text_it_says_where() -> None:
    (finding,) = ticks.to(ps.collect()).check()
    assert str(finding) == f"warning: collect: {finding.problem} ({finding.where})"


# Served


def test_of_a_served_topic_each_stage_that_ends_the_run_is_named_once() -> None:
    stream = (
        ticks.map(str)
        .map(str)
        .filter(len)
        .map(int, errors="skip")
        .map(int, errors=ps.dead_letter(ps.count()))
        .map(int, errors=ps.retry(3, then="skip"))
        .map_async(_same, 2, errors=ps.retry(3))
    )
    assert findings(stream._node) == ()
    (finding,) = findings(stream._node, served=True)
    assert (finding.level, finding.stage) == ("hint", "map(str), filter(len), map_async(_same)")
    assert 'errors="skip"' in finding.problem
    assert findings(ticks.batch(3)._node, served=True) == ()


def test_a_topic_with_half_of_a_broadcast_is_an_error() -> None:
    one, _two = ticks.broadcast(2)
    (finding,) = findings(one._node, served=True)
    assert finding.level == "error"


async def _same(item: int) -> int:
    return item
