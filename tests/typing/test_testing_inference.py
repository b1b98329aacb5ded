"""What type checkers infer of `penstock.testing`. mypy and pyright, both strict."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import penstock as ps
from penstock import testing


@ps.transform
async def as_text(receive: ps.Receiver[int], send: ps.Sender[str]) -> None:
    async for item in receive:
        await send(str(item))


def test_probes_have_the_type_they_are_told() -> None:
    numbers, source = testing.probe_source(int)
    assert_type(numbers, ps.Stream[int])
    assert_type(source, testing.ProbeSource[int])
    end, sink = testing.probe_sink(str)
    assert_type(sink, testing.ProbeSink[str])
    assert_type(numbers.map(str).to(end), ps.Pipeline[list[str]])
    assert_type(sink.seen, list[str])
    anything, _ = testing.probe_source()
    assert_type(anything, ps.Stream[Any])


def test_a_transform_is_checked_with_items_of_its_types() -> None:
    testing.check_transform(as_text, given=[1, 2], expected=["1", "2"])


def test_a_recording_keeps_the_type_of_the_items(tmp_path: Path) -> None:
    recording: list[testing.Recorded[int]] = []
    recorder = testing.Recorder(recording)
    assert_type(recorder, testing.Recorder[int])
    assert_type(ps.from_iterable([1]).via(recorder.tap), ps.Stream[int])
    assert_type(testing.replay(recording), ps.Stream[int])
    assert_type(testing.replay(tmp_path / "a", int), ps.Stream[int])
    assert_type(testing.replay(tmp_path / "a"), ps.Stream[Any])
