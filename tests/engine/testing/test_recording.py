from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps
from penstock import testing


@dataclass
class Reading:
    room: str
    degrees: float


@ps.producer(chunked=True)
async def bursts(send: ps.Sender[int], *bursts_: tuple[float, list[int]]) -> None:
    start = trio.current_time()
    for at, items in bursts_:
        await trio.sleep_until(start + at)
        await send.chunk(list(items))


BURSTS = ((0.0, [1]), (0.5, [2, 3]), (60.0, [4, 5, 6]))


def noting(chunks: list[tuple[float, list[Any]]], start: float) -> Any:
    @ps.transform
    async def note(receive: ps.Receiver[Any], send: ps.Sender[Any]) -> None:
        async for items in receive.chunks():
            chunks.append((trio.current_time() - start, list(items)))
            await send.chunk(items)

    return note


async def run_and_note(stream: ps.Stream[Any]) -> list[tuple[float, list[Any]]]:
    chunks: list[tuple[float, list[Any]]] = []
    start = trio.current_time()
    await stream.via(noting(chunks, start)).to(ps.drain()).run()
    return chunks


async def test_a_list_gets_times_and_chunks(autojump_clock: MockClock) -> None:
    recording: list[testing.Recorded[int]] = []
    recorder = testing.Recorder(recording)
    chunks = await run_and_note(bursts(*BURSTS).via(recorder.tap))
    assert chunks == [(0, [1]), (0.5, [2, 3]), (60, [4, 5, 6])]
    assert recording == [
        testing.Recorded(0, begins=True),
        testing.Recorded(0, [1]),
        testing.Recorded(0.5, [2, 3]),
        testing.Recorded(60, [4, 5, 6]),
        testing.Recorded(60, ends=True),
    ]
    assert recorder.recorded == 6


async def test_a_recording_is_given_again_at_the_same_times(autojump_clock: MockClock) -> None:
    recording: list[testing.Recorded[int]] = []
    stream = bursts(*BURSTS).via(testing.Recorder(recording).tap)
    chunks = await run_and_note(stream)
    for _ in range(2):
        assert await run_and_note(testing.replay(recording)) == chunks


def record_in_a_file(path: Path, *items: list[Any]) -> None:
    recorder: testing.Recorder[Any] = testing.Recorder(path)
    stream = bursts(*((0.0, each) for each in items)).via(recorder.tap)
    assert ps.run(stream.to(ps.count())) == sum(map(len, items))


def test_a_file_gives_the_values_back_in_their_type(tmp_path: Path) -> None:
    path = tmp_path / "readings.jsonl"
    record_in_a_file(path, [Reading("hall", 20.5)], [Reading("attic", 31.0)])
    readings = ps.run(testing.replay(path, Reading).to(ps.collect()))
    assert readings == [Reading("hall", 20.5), Reading("attic", 31.0)]
    plain = ps.run(testing.replay(path).to(ps.collect()))
    assert plain[0] == {"room": "hall", "degrees": 20.5}


def test_the_lines_of_a_file_are_for_people_too(tmp_path: Path) -> None:
    path = tmp_path / "numbers.jsonl"
    record_in_a_file(path, [1, 2])
    begin, chunk, end = path.read_text().splitlines()
    assert begin == '{"at":0.0,"begins":true}'
    assert chunk.endswith(',"items":[1,2]}')
    assert end.endswith(',"ends":true}')


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


HOURS = (
    '{"at":0.0,"begins":true}',
    '{"at":3600.0,"items":[1,2]}',
    '{"at":7200.0,"items":[3]}',
    '{"at":9000.0,"ends":true}',
)


async def test_hours_of_a_file_pass_at_once_under_a_jumping_clock(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = write(tmp_path / "hours", *HOURS)
    start = trio.current_time()
    assert await run_and_note(testing.replay(path)) == [(3600, [1, 2]), (7200, [3])]
    assert trio.current_time() - start == 9000


async def test_a_run_that_was_cut_off_ends_after_its_last_chunk(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = write(tmp_path / "hours", *HOURS[:3])
    start = trio.current_time()
    assert await testing.replay(path).to(ps.collect()).run() == [1, 2, 3]
    assert trio.current_time() - start == 7200


async def test_what_made_a_stage_fail_is_in_the_recording(autojump_clock: MockClock) -> None:
    recording: list[testing.Recorded[int]] = []
    stream = bursts(*BURSTS).via(testing.Recorder(recording).tap)

    def fail_on_five(n: int) -> int:
        assert n != 5
        return n

    for again in (stream, testing.replay(recording)):
        start = trio.current_time()
        with pytest.raises(ps.StageError, match=r"fail_on_five.* on item 5"):
            await again.map(fail_on_five).to(ps.collect()).run()
        assert trio.current_time() - start == 60
    assert not any(entry.ends for entry in recording)


@pytest.mark.parametrize(
    ("run", "items"), [(-1, [5]), (0, [1, 2]), (1, [3, 4]), (2, [5]), (-3, [1, 2])]
)
def test_any_run_of_several_can_be_given_again(tmp_path: Path, run: int, items: list[int]) -> None:
    path = tmp_path / "runs"
    for each in ([1, 2], [3, 4], [5]):
        record_in_a_file(path, each)
    assert ps.run(testing.replay(path, run=run).to(ps.collect())) == items


@pytest.mark.parametrize("run", [-2, 1])
def test_a_run_that_is_not_there_is_an_error(tmp_path: Path, run: int) -> None:
    path = write(tmp_path / "hours", *HOURS)
    with pytest.raises(ps.StageError, match=r"replay\(hours\) failed: .*holds 1 run; run="):
        ps.run(testing.replay(path, run=run).to(ps.collect()))


def test_a_line_that_was_never_finished_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_text('{"at":0.0,"begins":true}\n{"at":0.0,"items":[1]}\n{"at":0.0,"ite')
    assert ps.run(testing.replay(path).to(ps.collect())) == [1]
    record_in_a_file(path, [2])
    assert ps.run(testing.replay(path, run=0).to(ps.collect())) == [1]
    assert ps.run(testing.replay(path).to(ps.collect())) == [2]


@pytest.mark.parametrize("bad", ["nonsense", '{"at":0.0,"items":["a"]}'])
def test_a_bad_line_is_named(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path / "bad", HOURS[0], bad, HOURS[3])
    with pytest.raises(ps.StageError, match=r"bad:2: "):
        ps.run(testing.replay(path, int).to(ps.collect()))


def test_a_file_that_is_not_there_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(ps.StageError) as caught:
        ps.run(testing.replay(tmp_path / "none").to(ps.collect()))
    assert type(caught.value.cause) is FileNotFoundError


def test_an_item_that_json_can_not_hold_is_named(tmp_path: Path) -> None:
    recorder: testing.Recorder[object] = testing.Recorder(tmp_path / "out")
    with pytest.raises(ps.StageError, match="record failed on item <object") as caught:
        ps.run(ps.from_iterable([1, object()]).via(recorder.tap).to(ps.collect()))
    assert type(caught.value.cause) is TypeError


async def test_only_so_many_items_of_a_run_are_recorded(autojump_clock: MockClock) -> None:
    recording: list[testing.Recorded[int]] = []
    recorder = testing.Recorder(recording, limit=4)
    stream = bursts(*BURSTS).via(recorder.tap)
    assert await stream.to(ps.collect()).run() == [1, 2, 3, 4, 5, 6]
    assert [list(entry.items) for entry in recording if entry.items] == [[1], [2, 3], [4]]
    assert await stream.to(ps.count()).run() == 6
    assert recorder.recorded == 8


async def test_a_recording_tap_is_balanced_when_it_is_cancelled(autojump_clock: MockClock) -> None:
    recorder = testing.Recorder[int]([])
    async with bursts(*BURSTS).via(recorder.tap).to(ps.drain()).open() as run:
        await trio.sleep(1)
        await run.stop(0)
    testing.assert_balanced(run.report())
    assert [stage.items_out for stage in run.report().stages] == [3, 3, 0]


def test_a_recording_tap_is_a_good_transform() -> None:
    recorder = testing.Recorder[int]([])
    testing.check_transform(recorder.tap, given=[1, 2, 3], expected=[1, 2, 3])


def test_wrong_arguments_are_refused() -> None:
    wrong: Any = 3
    with pytest.raises(ps.PipelineError, match="Recorder: target must be a path or a list"):
        testing.Recorder(wrong)
    with pytest.raises(ps.PipelineError, match="Recorder: limit must be a whole number"):
        testing.Recorder([], limit=0)
    with pytest.raises(ps.PipelineError, match="replay: recording must be a path or a list"):
        testing.replay(wrong)
    with pytest.raises(ps.PipelineError, match="replay: run must be a whole number"):
        testing.replay([], run=wrong / 2)
