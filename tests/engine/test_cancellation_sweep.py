"""Every operator, producer and sink: cancelled at each of its steps, and failing at each call.

Each case is a small pipeline. It is run again and again: cancelled at the first step that any of
its tasks takes, at the second, …, until a run gets through; then with the user's function failing
at its first call, at the second, … After each run nothing may be left behind.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio
from trio.testing import MockClock

import penstock as ps
from penstock.wire.msgpack_format import unpack_all

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

    def generator(self) -> Generator[str]:
        self.opened += 1
        try:
            for n in range(ITEMS):
                yield str(n)
        finally:
            self.closed += 1

    def failing_once(self) -> Generator[str]:
        starts = self.opened
        with closing(self.generator()) as items:
            for item in items:
                yield item
                if item == "2" and not starts:
                    raise OSError("for a restart")

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

    async def inner(self, item: Any) -> AsyncGenerator[Any, None]:
        self.opened += 1
        try:
            await trio.lowlevel.checkpoint()
            yield self.f(item)
            await trio.lowlevel.checkpoint()
        finally:
            self.closed += 1

    def inner_stream(self, item: Any) -> ps.Stream[Any]:
        return ps.from_iterable([item]).map_async(self.answer, 1)

    async def see_later(self, item: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return self.see(item)


Build: TypeAlias = Callable[[Lab], ps.Pipeline[Any]]


def seen(build: Callable[[Lab], ps.Stream[Any]]) -> Build:
    return lambda lab: build(lab).tap(lab.see).to(ps.count())


def windows(lab: Lab, kind: Any, **options: Any) -> ps.WindowedStream[int, str]:
    return lab.source().key_by(len).window(kind, **options)


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


@ps.producer
def failing_once(lab: Lab) -> Iterator[str]:
    yield from lab.failing_once()


@ps.producer
async def failing_once_singly(send: ps.Sender[str], lab: Lab) -> None:
    with closing(lab.failing_once()) as items:
        for item in items:
            await send(item)


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


def broadcast_and_zip(lab: Lab) -> ps.Stream[Any]:
    one, two = lab.source().broadcast(2, buffer=2)
    return one.map_async(lab.answer, 2).zip(two)


def broadcast_and_concat(lab: Lab) -> ps.Stream[Any]:
    one, two = lab.source().broadcast(2, buffer=2)
    return one.concat(two.buffer(ITEMS))


def broadcast_and_gather(lab: Lab) -> ps.Pipeline[Any]:
    one, two = lab.source().broadcast(2, buffer=1)
    return ps.gather(one.take(2).to(ps.collect()), two.tap(lab.see).to(ps.count()))


def routed(lab: Lab) -> ps.Stream[Any]:
    routes = {"1": lambda s: s.map(lab.f), "2": lambda s: s.take(1)}
    return lab.source().route(lab.f, routes, otherwise=lambda s: s.buffer(1))


def rows(lab: Lab) -> ps.Stream[dict[str, str]]:
    return lab.source().map(lab.see).map(lambda item: {"item": item})


def parquet_file(lab: Lab) -> Path:
    file = lab.folder.parent / "in.parquet"
    if not file.exists():
        pq.write_table(pa.table({"item": [str(n) for n in range(ITEMS)]}), file)
    return file


def given_as_input(lab: Lab, stream: ps.Stream[str]) -> ps.Stream[str]:
    file = os.open(lab.folder / "in", os.O_RDONLY)
    os.dup2(file, 0)
    os.close(file)
    return stream


@pytest.fixture(autouse=True)
def kept_standard_input() -> Iterator[None]:
    before = os.dup(0)
    yield
    os.dup2(before, 0)
    os.close(before)


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
    "take_while": seen(lambda lab: lab.source().take_while(lambda item: lab.f(item) < "3")),
    "skip_while": seen(lambda lab: lab.source().skip_while(lambda item: lab.f(item) < "3")),
    "enumerate": seen(lambda lab: lab.source().enumerate()),
    "pairwise": seen(lambda lab: lab.source().pairwise()),
    "dedupe": seen(lambda lab: lab.source().dedupe(lambda item: int(lab.f(item)) // 2)),
    "distinct": seen(lambda lab: lab.source().distinct(lambda item: int(lab.f(item)) % 4)),
    "batch": seen(lambda lab: lab.source().batch(4)),
    "batch within": seen(lambda lab: lab.source().batch(4, within=1)),
    "debounce": seen(lambda lab: lab.source().delay(1).debounce(1)),
    "throttle": seen(lambda lab: lab.source().throttle(1)),
    "throttle to the last": seen(lambda lab: lab.source().throttle(1, keep="last")),
    "sample": seen(lambda lab: lab.source().rate_limit(2, 1).sample(1)),
    "rate_limit": seen(lambda lab: lab.source().rate_limit(2, 1)),
    "delay": seen(lambda lab: lab.source().delay(1, max_held=2)),
    "timeout": seen(lambda lab: lab.source().timeout(1)),
    "restart": seen(lambda lab: failing_once(lab).restart()),
    "restart, send": seen(lambda lab: failing_once_singly(lab).restart()),
    "via a transform": seen(lambda lab: lab.source().via(forward(lab))),
    "buffer": seen(lambda lab: lab.source().buffer(2)),
    "buffer, fail": seen(lambda lab: lab.source().buffer(100, "fail")),
    "key_by, scan": seen(lambda lab: lab.source().key_by(lab.f).scan("", lambda _, item: item)),
    "key_by, dedupe": seen(lambda lab: lab.source().key_by(len).dedupe(lab.f)),
    "key_by, debounce": seen(lambda lab: lab.source().key_by(lab.f, max_keys=2).debounce(1)),
    "key_by, map_async": seen(lambda lab: lab.source().key_by(int).map_async(lab.answer, 2)),
    "tumbling": seen(lambda lab: windows(lab, ps.tumbling(2), time=float).count()),
    "tumbling, late": seen(
        lambda lab: windows(
            lab, ps.tumbling(2), time=lambda item: 9 - int(item), late=ps.drain()
        ).count()
    ),
    "tumbling by the clock": seen(lambda lab: windows(lab, ps.tumbling(2)).collect()),
    "sliding": seen(
        lambda lab: windows(lab, ps.sliding(4, 2), time=float).aggregate(
            str, lambda some, item: some + lab.f(item), lambda a, b: a + b, lab.f
        )
    ),
    "session": seen(
        lambda lab: windows(lab, ps.session(2), time=lambda item: int(lab.f(item)) * 2).count()
    ),
    "by_count": seen(lambda lab: windows(lab, ps.by_count(4)).sum(lab.f)),
    "map_async": seen(lambda lab: lab.source().map_async(lab.answer, 2)),
    "map_async by key": seen(lambda lab: lab.source().map_async(lab.answer, 2, key=len)),
    "flat_map_async in order": seen(
        lambda lab: lab.source().flat_map_async(lab.inner, 2, ordered=True)
    ),
    "flat_map_async one by one": seen(lambda lab: lab.source().flat_map_async(lab.inner_stream, 1)),
    "map_async behind a buffer": seen(lambda lab: lab.source().buffer(1).map_async(lab.answer, 2)),
    "collect": lambda lab: lab.source().tap(lab.see).to(ps.collect()),
    "count": lambda lab: lab.source().tap(lab.see).to(ps.count()),
    "drain": lambda lab: lab.source().tap(lab.see).to(ps.drain()),
    "first": lambda lab: lab.source().tap(lab.see).to(ps.first(None)),
    "last": lambda lab: lab.source().tap(lab.see).to(ps.last(None)),
    "fold, retry": lambda lab: (
        lab.source().tap(lab.see).to(ps.fold("", lambda _, item: item, errors=ps.retry(2)))
    ),
    "fold": lambda lab: lab.source().to(ps.fold(0, lambda n, item: n + len(lab.see(item)))),
    "for_each": lambda lab: lab.source().to(ps.for_each(lab.see)),
    "for_each, async": lambda lab: lab.source().to(ps.for_each(lab.see_later)),
    "to_channel": lambda lab: lab.source().map(lab.see).to(ps.to_channel(lab.empty_channel())),
    "sink": lambda lab: lab.source().to(look(lab)),
}
IN_ORDER |= {
    "concat": seen(lambda lab: lab.source().concat(ps.from_iterable(lab.generator()))),
    "zip": seen(lambda lab: lab.source().zip(ps.from_iterable(lab.generator()))),
    "zip, strict": seen(lambda lab: lab.source().zip(lab.source(), strict=True)),
    "zip with a shorter one": seen(lambda lab: lab.source().zip(lab.source().take(2))),
    "interleave": seen(lambda lab: lab.source().interleave(ps.from_iterable(lab.generator()))),
    "merge_sorted": seen(lambda lab: lab.source().merge_sorted(lab.source(), key=lab.f)),
    "broadcast and zip": seen(broadcast_and_zip),
    "broadcast and concat": seen(broadcast_and_concat),
    "broadcast and gather": broadcast_and_gather,
    "gather": lambda lab: ps.gather(
        lab.source().tap(lab.see).to(ps.count()), lab.source().to(ps.drain())
    ),
}
IN_ANY_ORDER: dict[str, Build] = {
    "combine_latest": seen(
        lambda lab: lab.source().combine_latest(ps.from_iterable("a")).map(lambda both: both[0])
    ),
    "partition": seen(lambda lab: ps.merge(*lab.source().partition(lab.f))),
    "route": seen(routed),
    "merge": seen(lambda lab: ps.merge(lab.source(), ps.from_iterable(lab.generator()))),
    "map_async, unordered": seen(lambda lab: lab.source().map_async(lab.answer, 3, ordered=False)),
    "flat_map_async": seen(lambda lab: lab.source().flat_map_async(lab.inner, 3)),
    "switch_map": seen(lambda lab: lab.source().switch_map(lab.inner)),
    "switch_map to streams": seen(lambda lab: lab.source().switch_map(lab.inner_stream)),
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
    "read_csv": seen(lambda lab: ps.read_csv(lab.folder / "in", header=False)),
    "read_msgpack": seen(lambda lab: ps.read_msgpack(lab.folder / "in", int)),
    "read_parquet": seen(lambda lab: ps.read_parquet(parquet_file(lab), batch_rows=2)),
    "follow": seen(lambda lab: ps.follow(lab.folder / "in", from_start=True).take(ITEMS)),
    "subprocess_lines": seen(lambda _: ps.subprocess_lines(["seq", str(ITEMS)])),
    "stdin_lines": seen(lambda lab: given_as_input(lab, ps.stdin_lines())),
    "write_csv": lambda lab: rows(lab).to(ps.write_csv(lab.folder / "out")),
    "write_msgpack": lambda lab: lab.source().map(lab.see).to(ps.write_msgpack(lab.folder / "out")),
    "write_parquet": lambda lab: rows(lab).to(ps.write_parquet(lab.folder / "out")),
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


def items_in(file: Path) -> list[str]:
    """The items of a file, whichever sink wrote it."""
    content = file.read_bytes()
    if content.startswith(b"PAR1"):
        return [row["item"] for row in pq.read_table(file).to_pylist()]
    if content.startswith(b"\xa1"):
        return [str(item) for item in unpack_all(content)]
    lines = content.decode().removesuffix("\n").split("\n")
    return [line.strip('"') for line in lines if line != "item"]


def check_left_behind(lab: Lab, *, got_through: bool) -> None:
    assert lab.opened == lab.closed, "a finally did not run, or ran twice"
    assert [channel() for channel in lab.given_to_the_run if channel()] == []
    assert sorted(path.name for path in lab.folder.iterdir()) == ["in", "out"]
    written = items_in(lab.folder / "out")
    assert written == ["old"] or (len(lab.seen) == ITEMS and written == lab.seen)
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
