"""Every operator, producer and sink: cancelled at each of its steps, and failing at each call.

Each case is a small pipeline. It is run again and again: cancelled at the first step that any of
its tasks takes, at the second, …, until a run gets through; then with the user's function failing
at its first call, at the second, … After each run nothing may be left behind.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock

import penstock as ps

ITEMS = 6
OLD = '"old"\n'


class Boom(Exception):
    pass


class Lab:
    """What a case is built from, with notes of what happened to it."""

    def __init__(self, folder: Path, fail_at: int = 0) -> None:
        self.folder = folder
        self.fail_at = fail_at
        self.opened = 0
        self.closed = 0
        self.calls: list[Any] = []
        self.seen: list[Any] = []
        self.send, self.receive = trio.open_memory_channel[str](100)
        self.given_to_the_run: list[Callable[[], int]] = []
        (folder / "out").write_text(OLD)
        (folder / "in").write_text("".join(f'"{n}"\n' for n in range(ITEMS)))

    def generator(self) -> Iterator[str]:
        self.opened += 1
        try:
            for n in range(ITEMS):
                yield str(n)
        finally:
            self.closed += 1

    async def async_generator(self) -> AsyncGenerator[str, None]:
        self.opened += 1
        try:
            for n in range(ITEMS):
                yield str(n)
                await trio.lowlevel.checkpoint()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            self.closed += 1

    def source(self) -> ps.Stream[str]:
        return ps.from_async(self.async_generator)

    def filled_channel(self) -> trio.MemoryReceiveChannel[str]:
        for n in range(ITEMS):
            self.send.send_nowait(str(n))
        self.send.close()
        self.given_to_the_run.append(lambda: self.receive.statistics().open_receive_channels)
        return self.receive

    def empty_channel(self) -> trio.MemorySendChannel[str]:
        self.given_to_the_run.append(lambda: self.send.statistics().open_send_channels)
        return self.send

    def f(self, item: Any) -> Any:
        self.calls.append(item)
        if len(self.calls) == self.fail_at:
            raise Boom
        return item

    def see(self, item: Any) -> Any:
        self.seen.append(self.f(item))
        return item

    async def answer(self, item: Any) -> Any:
        self.opened += 1
        try:
            await trio.lowlevel.checkpoint()
            return self.f(item)
        finally:
            self.closed += 1

    async def see_later(self, item: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return self.see(item)


Build: TypeAlias = Callable[[Lab], ps.Pipeline[Any]]


def seen(build: Callable[[Lab], ps.Stream[Any]]) -> Build:
    return lambda lab: build(lab).tap(lab.see).to(ps.count())


@ps.producer
async def sent_singly(send: ps.Sender[str], lab: Lab) -> None:
    async with aclosing(lab.async_generator()) as items:
        async for item in items:
            await send(item)


@ps.producer(chunked=True)
async def sent_in_chunks(send: ps.Sender[str], lab: Lab) -> None:
    async with aclosing(lab.async_generator()) as items:
        async for item in items:
            await send.chunk([item, item + "!"])


@ps.producer
async def yielded_async(lab: Lab) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        for item in lab.generator():
            yield item
        nursery.cancel_scope.cancel()


@ps.producer
def yielded(lab: Lab) -> Iterator[str]:
    yield from lab.generator()


@ps.transform
async def forward(receive: ps.Receiver[str], send: ps.Sender[str], lab: Lab) -> None:
    lab.opened += 1
    try:
        async for item in receive:
            await send(lab.f(item))
    finally:
        lab.closed += 1


@ps.sink
async def look(receive: ps.Receiver[str], lab: Lab) -> None:
    lab.opened += 1
    try:
        async for item in receive:
            await lab.see_later(item)
    finally:
        lab.closed += 1


IN_ORDER: dict[str, Build] = {
    "from_iterable": seen(lambda lab: ps.from_iterable(lab.generator())),
    "from_async": seen(Lab.source),
    "from_channel": seen(lambda lab: ps.from_channel(lab.filled_channel())),
    "every": seen(lambda _: ps.every(1, count=ITEMS)),
    "producer, send": seen(sent_singly),
    "producer, send.chunk": seen(sent_in_chunks),
    "producer, async yield in a nursery": seen(yielded_async),
    "producer, yield": seen(yielded),
    "merge with nothing": seen(lambda lab: lab.source().merge(ps.from_iterable([]))),
    "map": seen(lambda lab: lab.source().map(lab.f)),
    "filter": seen(lambda lab: lab.source().filter(lambda item: lab.f(item) > "1")),
    "flat_map": seen(lambda lab: lab.source().flat_map(lambda item: [lab.f(item)] * 2)),
    "scan": seen(lambda lab: lab.source().scan("", lambda state, item: state + lab.f(item))),
    "tap": seen(lambda lab: lab.source().tap(lab.f)),
    "take": seen(lambda lab: lab.source().take(3)),
    "take behind a buffer": seen(lambda lab: lab.source().buffer(2).take(3)),
    "skip": seen(lambda lab: lab.source().skip(3)),
    "batch": seen(lambda lab: lab.source().batch(4)),
    "batch within": seen(lambda lab: lab.source().batch(4, within=1)),
    "via a transform": seen(lambda lab: lab.source().via(forward(lab))),
    "buffer": seen(lambda lab: lab.source().buffer(2)),
    "buffer, fail": seen(lambda lab: lab.source().buffer(100, "fail")),
    "map_async": seen(lambda lab: lab.source().map_async(lab.answer, 2)),
    "map_async behind a buffer": seen(lambda lab: lab.source().buffer(1).map_async(lab.answer, 2)),
    "collect": lambda lab: lab.source().tap(lab.see).to(ps.collect()),
    "count": lambda lab: lab.source().tap(lab.see).to(ps.count()),
    "drain": lambda lab: lab.source().tap(lab.see).to(ps.drain()),
    "fold": lambda lab: lab.source().to(ps.fold(0, lambda n, item: n + len(lab.see(item)))),
    "for_each": lambda lab: lab.source().to(ps.for_each(lab.see)),
    "for_each, async": lambda lab: lab.source().to(ps.for_each(lab.see_later)),
    "to_channel": lambda lab: lab.source().map(lab.see).to(ps.to_channel(lab.empty_channel())),
    "sink": lambda lab: lab.source().to(look(lab)),
}
IN_ANY_ORDER: dict[str, Build] = {
    "merge": seen(lambda lab: ps.merge(lab.source(), ps.from_iterable(lab.generator()))),
    "map_async, unordered": seen(lambda lab: lab.source().map_async(lab.answer, 3, ordered=False)),
    "buffer, drop_oldest": seen(lambda lab: lab.source().buffer(2, "drop_oldest")),
    "buffer, drop_newest": seen(lambda lab: lab.source().buffer(2, "drop_newest")),
    "buffer, conflate": seen(lambda lab: lab.source().buffer(2, "conflate", key=len)),
    "for_each, concurrency": lambda lab: lab.source().to(ps.for_each(lab.see_later, 3)),
}
IN_THREADS: dict[str, Build] = {
    "from_iterable, blocking": seen(lambda lab: ps.from_iterable(lab.generator(), blocking=True)),
    "read_lines": seen(lambda lab: ps.read_lines(lab.folder / "in")),
    "read_jsonl": seen(lambda lab: ps.read_jsonl(lab.folder / "in", str)),
    "map_blocking": seen(lambda lab: lab.source().map_blocking(lab.f, 2)),
    "write_lines": lambda lab: lab.source().map(lab.see).to(ps.write_lines(lab.folder / "out")),
    "write_jsonl": lambda lab: lab.source().map(lab.see).to(ps.write_jsonl(lab.folder / "out")),
}
CASES = IN_ORDER | IN_ANY_ORDER | IN_THREADS


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before the n-th step that any task takes."""

    def __init__(self, step: int) -> None:
        self._left = step
        self.scope: trio.CancelScope | None = None

    @property
    def fired(self) -> bool:
        return self._left <= 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is not None:
            self._left -= 1
            if not self._left:
                self.scope.cancel("the sweep is at this step")


async def run_and_cancel(lab: Lab, build: Build, instrument: CancelAtStep) -> bool:
    """Run a case and check what it leaves; whether it got through."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    got_through = False
    with trio.CancelScope() as scope:
        instrument.scope = scope
        await build(lab).run()
        got_through = True
    instrument.scope = None
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    check_left_behind(lab, got_through=got_through)
    return got_through


def check_left_behind(lab: Lab, *, got_through: bool) -> None:
    assert lab.opened == lab.closed, "a finally did not run, or ran twice"
    assert [channel() for channel in lab.given_to_the_run if channel()] == []
    assert sorted(path.name for path in lab.folder.iterdir()) == ["in", "out"]
    written = (lab.folder / "out").read_text()
    whole = {"".join(f"{item}\n" for item in lab.seen), "".join(f'"{item}"\n' for item in lab.seen)}
    assert written == OLD or (len(lab.seen) == ITEMS and written in whole)
    if got_through:
        for send_or_receive in (lab.send, lab.receive):
            send_or_receive.close()


def runs_of(case: str, folder: Path, most_steps: int = 2000) -> Iterator[tuple[Lab, bool]]:
    """The case cancelled at each step; last, the run that was over before its step came."""
    for step in count(1):
        assert step < most_steps, "it never gets through"
        instrument = CancelAtStep(step)
        lab = Lab(Path(tempfile.mkdtemp(dir=folder)))
        # A jumping clock would run on while a thread works, without one it shows a deadlock.
        clock = None if case in IN_THREADS else MockClock(autojump_threshold=0)
        got_through = trio.run(
            run_and_cancel, lab, CASES[case], instrument, clock=clock, instruments=[instrument]
        )
        yield lab, got_through
        if not instrument.fired:
            return


@pytest.mark.parametrize("case", CASES)
def test_cancelled_at_any_step_nothing_is_left_behind(case: str, tmp_path: Path) -> None:
    *cancelled, (complete, got_through) = runs_of(case, tmp_path)
    assert got_through
    assert complete.seen
    assert len(cancelled) >= 3
    for lab, _ in cancelled:
        if case in IN_ANY_ORDER:
            everything = Counter(map(str, range(ITEMS))) + Counter(complete.seen)
            assert not Counter(lab.seen) - everything
        else:
            assert lab.seen == complete.seen[: len(lab.seen)]
    early, late = cancelled[0][0], cancelled[-1][0]
    assert len(early.seen) <= len(late.seen) <= len(complete.seen) + ITEMS


async def run_and_fail(lab: Lab, build: Build) -> bool:
    """Run a case whose n-th call fails and check what it leaves; whether it got through."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    failure: BaseException | None = None
    try:
        await build(lab).run()
    except ps.StageError as error:
        failure = error.__cause__
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert (type(failure) is Boom) == (len(lab.calls) >= lab.fail_at)
    check_left_behind(lab, got_through=failure is None)
    return failure is None


@pytest.mark.parametrize("case", CASES)
def test_failing_at_any_call_nothing_is_left_behind(case: str, tmp_path: Path) -> None:
    for call in count(1):
        lab = Lab(Path(tempfile.mkdtemp(dir=tmp_path)), fail_at=call)
        clock = None if case in IN_THREADS else MockClock(autojump_threshold=0)
        if trio.run(run_and_fail, lab, CASES[case], clock=clock):
            break
    assert call > 1


def test_a_worker_process_goes_with_its_run(tmp_path: Path) -> None:
    """Processes take too long to start for a sweep: some steps must do."""
    for step in (1, 5, 9, 13):
        instrument = CancelAtStep(step)
        lab = Lab(Path(tempfile.mkdtemp(dir=tmp_path)))
        trio.run(
            run_and_cancel,
            lab,
            seen(lambda lab: lab.source().map_blocking(str, 1, on="process")),
            instrument,
            instruments=[instrument],
        )
        assert instrument.fired


@pytest.mark.parametrize("leave_after", range(ITEMS + 1))
async def test_an_open_stream_left_at_any_item(
    autojump_clock: MockClock, tmp_path: Path, leave_after: int
) -> None:
    lab = Lab(tmp_path)
    async with lab.source().map(lab.see).open() as items:
        for n in range(leave_after):
            assert await anext(aiter(items)) == str(n)
    check_left_behind(lab, got_through=True)
    assert lab.seen[:leave_after] == [str(n) for n in range(leave_after)]
