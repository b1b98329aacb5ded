"""Files appear when the whole run has ended well, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def odd_fails(item: int) -> int:
    if item % 2:
        raise ValueError(item)
    return item


async def fail_later(item: Any) -> Any:
    await trio.sleep(0.1)
    raise KeyError(item)


async def never(item: Any) -> Any:
    await trio.sleep_forever()


async def wait_for_file(folder: Path, count: int = 1) -> None:
    """Until so many sinks have a file open."""
    while len(names_in(folder)) < count:
        await trio.lowlevel.checkpoint()


async def test_a_file_that_was_complete_before_another_branch_failed(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    one, two = ps.from_iterable(range(6)).broadcast(2)
    gathered = ps.gather(
        one.take(2).map(str).to(ps.write_lines(tmp_path / "old")),
        two.map_async(fail_later, 1).to(ps.collect()),
    )
    with pytest.raises(ps.StageError, match="fail_later"):
        await gathered.run()
    assert names_in(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


async def test_dead_letters_of_a_run_that_fails(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    stream = ps.from_iterable(range(4)).map(odd_fails, errors=letters).map_async(fail_later, 1)
    with pytest.raises(ps.StageError, match="fail_later"):
        await stream.to(ps.collect()).run()
    assert names_in(tmp_path) == []


async def test_dead_letters_of_a_run_that_is_cancelled(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    stream = ps.from_iterable(range(4)).map(odd_fails, errors=letters)
    with trio.move_on_after(0.2) as scope:
        await stream.map_async(never, 1).to(ps.collect()).run()
    assert scope.cancelled_caught
    assert names_in(tmp_path) == []


async def test_dead_letters_of_a_run_that_ends_well(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    stream = ps.from_iterable(range(4)).map(odd_fails, errors=letters).map(str)
    assert await stream.to(ps.write_lines(tmp_path / "out")).run() == 2
    assert names_in(tmp_path) == ["letters", "out"]
    assert (tmp_path / "letters").read_bytes().count(b"\n") == 2


async def test_a_run_that_was_stopped_and_drained_has_its_files(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    stream = ps.every(0.001).map(odd_fails, errors=letters).map(str)
    async with stream.to(ps.write_lines(tmp_path / "out")).open() as run:
        await wait_for_file(tmp_path, 2)
        await run.stop()
        assert names_in(tmp_path) == ["letters", "out"]
        await run.result()
    assert run.report().outcome == "stopped"


async def test_what_a_deadline_cut_off_leaves_no_file_of_the_others(tmp_path: Path) -> None:
    one, two = ps.from_iterable(range(6)).broadcast(2)
    gathered = ps.gather(
        one.map(str).to(ps.write_lines(tmp_path / "out")),
        two.map_async(never, 1).to(ps.collect()),
    )
    async with gathered.open() as run:
        await trio.sleep(0.2)
        await run.stop(0)
        with pytest.raises(ps.RunStopped):
            await run.result()
    assert names_in(tmp_path) == []


async def test_the_body_of_open_raises(tmp_path: Path) -> None:
    one, two = ps.from_iterable(range(6)).broadcast(2)
    gathered = ps.gather(
        one.map(str).to(ps.write_lines(tmp_path / "out")),
        two.map_async(never, 1).to(ps.collect()),
    )
    with pytest.raises(ZeroDivisionError):
        async with gathered.open():
            await trio.sleep(0.2)
            raise ZeroDivisionError
    assert names_in(tmp_path) == []


async def test_a_run_that_was_over_when_the_body_raised_has_its_files(tmp_path: Path) -> None:
    pipeline = ps.from_iterable(["a"]).to(ps.write_lines(tmp_path / "out"))
    with pytest.raises(ZeroDivisionError):
        async with pipeline.open() as run:
            assert await run.result() == 1
            assert names_in(tmp_path) == ["out"]
            raise ZeroDivisionError
    assert names_in(tmp_path) == ["out"]


async def test_a_file_that_cannot_have_its_name_fails_the_run_and_the_rest_is_discarded(
    tmp_path: Path,
) -> None:
    one, two = ps.every(3600).map(str).broadcast(2)
    gathered = ps.gather(
        one.to(ps.write_lines(tmp_path / "a" / "out")), two.to(ps.write_lines(tmp_path / "b"))
    )
    (tmp_path / "a").mkdir()
    with pytest.raises(ps.StageError, match=r"write_lines\(out\) failed: .*a/out") as caught:
        async with gathered.open() as run:
            await wait_for_file(tmp_path / "a")
            await wait_for_file(tmp_path, 2)
            await wait_all_tasks_blocked()
            (tmp_path / "a" / "out").mkdir()
            await run.stop()
    assert caught.value.where is not None
    assert run.report().outcome == "failed"
    assert [each.name for each in run.report().stages if each.errors] == ["write_lines(out)"]
    assert names_in(tmp_path) == ["a"]
    assert names_in(tmp_path / "a") == ["out"]


# Inner runs belong to the run whose operator opens them.


def inner(letters: Any) -> Any:
    def stream(item: int) -> ps.Stream[int]:
        return ps.from_iterable([item, item + 1]).map(odd_fails, errors=letters)

    return stream


async def test_dead_letters_of_an_inner_stream(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    stream = ps.from_iterable([0, 2, 4]).flat_map_async(inner(letters), 1)
    assert await stream.to(ps.collect()).run() == [0, 2, 4]
    assert names_in(tmp_path) == ["letters"]
    (letter,) = await ps.read_jsonl(tmp_path / "letters").to(ps.collect()).run()
    assert letter["item"] == 5, "each inner stream writes the file anew"


async def test_dead_letters_of_an_inner_stream_whose_outer_run_fails(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    stream = ps.from_iterable([0, 2, 4]).flat_map_async(inner(letters), 1)
    with pytest.raises(ps.StageError, match="fail_later"):
        await stream.buffer(9).batch(3).map_async(fail_later, 1).to(ps.collect()).run()
    assert names_in(tmp_path) == []


async def test_only_the_latest_file_of_inner_streams_waits_for_the_end(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    most = 0

    def look(item: int) -> None:
        nonlocal most
        most = max(most, len(names_in(tmp_path)))

    stream = ps.from_iterable(range(0, 40, 2)).flat_map_async(inner(letters), 1)
    await stream.tap(look).to(ps.drain()).run()
    assert 1 <= most <= 3
    assert names_in(tmp_path) == ["letters"]


async def test_an_open_stream_that_was_read_to_its_end_has_its_files(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    for _ in range(5):
        async with ps.from_iterable(range(4)).map(odd_fails, errors=letters).open() as items:
            assert [item async for item in items] == [0, 2]
        assert (tmp_path / "letters").read_bytes().count(b"\n") == 2
        (tmp_path / "letters").unlink()


async def test_an_open_stream_that_was_left_has_none(tmp_path: Path) -> None:
    letters = ps.dead_letter(ps.write_jsonl(tmp_path / "letters"))
    async with ps.from_iterable(range(9000)).map(odd_fails, errors=letters).open() as items:
        async for _ in items:
            break
    assert names_in(tmp_path) == []


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before the n-th step that any task takes."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.scope: trio.CancelScope | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is not None:
            self.left -= 1
            if not self.left:
                self.scope.cancel()


def three_files(folder: Path) -> ps.Pipeline[Any]:
    letters = ps.dead_letter(ps.write_jsonl(folder / "letters"))
    one, two = ps.from_iterable(range(6)).map(odd_fails, errors=letters).broadcast(2)
    return ps.gather(
        one.map(str).to(ps.write_lines(folder / "one")),
        two.map(lambda item: [item]).to(ps.write_csv(folder / "two")),
    )


def inner_files(folder: Path) -> ps.Pipeline[Any]:
    letters = ps.dead_letter(ps.write_jsonl(folder / "letters"))
    stream = ps.from_iterable([0, 2]).flat_map_async(inner(letters), 2)
    rows = stream.map(lambda item: {"item": item})
    return rows.to(ps.write_parquet(folder / "out"))


async def run_and_cancel(pipeline: ps.Pipeline[Any], instrument: CancelAtStep) -> bool:
    got_through = False
    with trio.CancelScope() as scope:
        instrument.scope = scope
        await pipeline.run()
        got_through = True
    instrument.scope = None
    return got_through


@pytest.mark.parametrize(
    ("build", "files"),
    [(three_files, ["letters", "one", "two"]), (inner_files, ["letters", "out"])],
)
def test_cancelled_at_any_step_all_files_are_there_or_none(
    tmp_path: Path, build: Callable[[Path], ps.Pipeline[Any]], files: list[str]
) -> None:
    step, got_through = 0, False
    seen: set[int] = set()
    while not got_through:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        instrument = CancelAtStep(step)
        run = partial(run_and_cancel, build(folder), instrument)
        got_through = trio.run(run, instruments=[instrument])
        assert names_in(folder) in ([], files)
        seen.add(len(names_in(folder)))
    assert seen == {0, len(files)}


async def test_a_run_that_ends_well_waits_for_its_files(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    pipeline = ps.from_iterable(["a"]).to(ps.write_lines(tmp_path / "out"))
    async with pipeline.open() as run:
        await run.stop()
        assert run.report().outcome in ("stopped", "done")
        assert names_in(tmp_path) == ["out"]
