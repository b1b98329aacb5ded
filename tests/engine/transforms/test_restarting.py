from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps

EVENLY = ps.Backoff(1, factor=1, jitter=False)
DOUBLING = ps.Backoff(1, maximum=8, jitter=False)


class Source:
    """Gives 0, 1, then fails, so many times; then 0, 1, 2, 3 and ends."""

    def __init__(self, failures: int, lasting: float = 0) -> None:
        self.failures = failures
        self.lasting = lasting
        self.started: list[float] = []
        self.closed = 0

    def numbers(self) -> Iterator[int]:
        """As a generator."""
        self.started.append(trio.current_time())
        try:
            yield from range(2)
            self.fail()
            yield from range(2, 4)
        finally:
            self.closed += 1

    def in_thread(self) -> Iterator[int]:
        """As a generator in a thread."""
        self.started.append(trio.from_thread.run_sync(trio.current_time))
        try:
            yield from range(2)
            self.fail()
            yield from range(2, 4)
        finally:
            self.closed += 1

    async def numbers_async(self) -> AsyncIterator[int]:
        """As an async generator."""
        self.started.append(trio.current_time())
        try:
            yield 0
            yield 1
            await trio.sleep(self.lasting)
            self.fail()
            yield 2
            yield 3
        finally:
            self.closed += 1

    async def send(self, send: ps.Sender[int]) -> None:
        """As a function with ``send``, in a nursery of its own."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, send)

    async def _send(self, send: ps.Sender[int]) -> None:
        self.started.append(trio.current_time())
        try:
            await send.chunk([0, 1])
            self.fail()
            await send.chunk([2, 3])
        finally:
            self.closed += 1

    def fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("gone")


class Numbers:
    """An iterable that starts anew each time."""

    def __init__(self, start: Callable[[], Iterator[int]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[int]:
        return self._start()


async def _send(send: ps.Sender[int], source: Source) -> None:
    await source.send(send)


FORMS: dict[str, Callable[[Source], ps.Stream[int]]] = {
    "generator": lambda source: ps.producer(source.numbers)(),
    "iterable": lambda source: ps.from_iterable(Numbers(source.numbers)),
    "iterable in a thread": lambda source: ps.from_iterable(
        Numbers(source.in_thread), blocking=True
    ),
    "async generator": lambda source: ps.from_async(source.numbers_async),
    "send": lambda source: ps.producer(_send)(source),
    "send.chunk": lambda source: ps.producer(chunked=True)(_send)(source),
}
each_form = pytest.mark.parametrize("form", FORMS)


@each_form
async def test_it_starts_anew_after_a_wait(autojump_clock: MockClock, form: str) -> None:
    source = Source(failures=2)
    async with FORMS[form](source).restart(EVENLY).map(str).to(ps.collect()).open() as run:
        assert await run.result() == ["0", "1", "0", "1", "0", "1", "2", "3"]
    stage = run.report().stages[0]
    assert (stage.retried, stage.errors, stage.items_out) == (2, 2, 8)
    assert source.started == [0, 1, 2]
    assert source.closed == 3


@each_form
async def test_a_producer_that_ends_is_not_started_again(form: str) -> None:
    source = Source(failures=0)
    assert await FORMS[form](source).restart().to(ps.collect()).run() == [0, 1, 2, 3]
    assert source.closed == 1


@each_form
async def test_beyond_the_bound_the_failure_is_raised(autojump_clock: MockClock, form: str) -> None:
    stream = FORMS[form](Source(failures=5)).restart(EVENLY, max_restarts=2, within=60)
    name = stream._node.name
    with pytest.raises(ps.StageError) as caught:
        await stream.to(ps.drain()).run()
    assert str(caught.value).startswith(
        f"{name} failed: TooManyRestarts: restarted 2 times within 60 seconds, it failed again:"
        " OSError: gone"
    )
    cause = caught.value.cause
    assert isinstance(cause, ps.TooManyRestarts)
    assert type(cause.__cause__) is OSError
    assert (cause.restarts, cause.within) == (2, 60)


async def test_only_the_restarts_of_late_count(autojump_clock: MockClock) -> None:
    source = Source(failures=20, lasting=9)
    stream = ps.from_async(source.numbers_async).restart(EVENLY, max_restarts=2, within=19)
    assert len(await stream.to(ps.collect()).run()) == 20 * 2 + 4
    assert source.started == [10 * n for n in range(21)]


async def test_waits_grow_with_the_restarts_of_late(autojump_clock: MockClock) -> None:
    source = Source(failures=6)
    await (
        ps.from_async(source.numbers_async).restart(DOUBLING, None, within=20).to(ps.drain()).run()
    )
    # Waits of 1, 2, 4, 8, 8; the first two are over 20 seconds ago then.
    assert source.started == [0, 1, 3, 7, 15, 23, 31]


async def test_a_producer_that_runs_well_waits_less_again(autojump_clock: MockClock) -> None:
    source = Source(failures=3, lasting=100)
    await ps.from_async(source.numbers_async).restart(DOUBLING, within=50).to(ps.drain()).run()
    assert source.started == [0, 101, 202, 303]


async def test_any_number_of_restarts(autojump_clock: MockClock) -> None:
    source = Source(failures=3000)
    await ps.from_async(source.numbers_async).restart(EVENLY, None).to(ps.drain()).run()
    assert source.closed == 3001


async def test_jitter_spreads_the_waits(autojump_clock: MockClock) -> None:
    source = Source(failures=50)
    backoff = ps.Backoff(10, factor=1)
    await ps.from_async(source.numbers_async).restart(backoff, None).to(ps.drain()).run()
    waits = {
        after - before for before, after in zip(source.started, source.started[1:], strict=False)
    }
    assert len(waits) == 50
    assert 0 <= min(waits) < 5 < max(waits) <= 10


@each_form
async def test_a_failure_of_the_stages_behind_restarts_nothing(form: str) -> None:
    source = Source(failures=0)
    stream = FORMS[form](source).restart(EVENLY).map(lambda n: 1 // (n - 1))
    with pytest.raises(ps.StageError, match=r"map\(<lambda>\) failed on item 1: ZeroDivision"):
        await stream.to(ps.collect()).run()
    assert (len(source.started), source.closed) == (1, 1)


async def test_a_pipeline_inside_the_producer_is_part_of_it(autojump_clock: MockClock) -> None:
    inner = Source(failures=1)

    @ps.producer
    async def outer(send: ps.Sender[int]) -> None:
        async with ps.from_async(inner.numbers_async).open() as items:
            async for item in items:
                await send(item)

    stream = outer().restart(EVENLY)
    assert (await stream.to(ps.collect()).run())[-4:] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "form", [form for form in FORMS if form not in ("async generator", "send")]
)
async def test_where_no_items_are_wanted_it_is_not_started(form: str) -> None:
    source = Source(failures=0)
    assert await FORMS[form](source).restart().take(0).to(ps.collect()).run() == []
    assert source.started == []


@each_form
async def test_it_ends_when_no_more_is_wanted(form: str) -> None:
    source = Source(failures=1)
    assert await FORMS[form](source).restart().take(2).to(ps.collect()).run() == [0, 1]
    assert source.closed == 1


async def test_stopped_while_it_waits_it_ends(autojump_clock: MockClock) -> None:
    source = Source(failures=9)
    backoff = ps.Backoff(100, maximum=100, jitter=False)
    pipeline = ps.from_async(source.numbers_async).restart(backoff).to(ps.collect())
    async with pipeline.open() as run:
        await trio.sleep(50)
        await run.stop()
        assert await run.result() == [0, 1]
    assert run.report().outcome == "stopped"
    assert trio.current_time() == 50


async def test_cancelled_while_it_waits_it_ends() -> None:
    source = Source(failures=9)
    with trio.CancelScope() as scope:
        async with ps.from_async(source.numbers_async).restart().to(ps.collect()).open() as run:
            await wait_all_tasks_blocked()
            scope.cancel()
    assert run.report().outcome == "cancelled"
    assert source.closed == 1


@each_form
@pytest.mark.parametrize("size", [1, 5000])
async def test_many_items_come_in_order(form: str, size: int) -> None:
    class Long(Source):
        def fail(self) -> None:
            pass

        def numbers(self) -> Iterator[int]:
            yield from range(size)

        in_thread = numbers

        async def numbers_async(self) -> AsyncIterator[int]:
            for n in range(size):
                yield n

        async def _send(self, send: ps.Sender[int]) -> None:
            await send.chunk(list(range(size)))

    assert await FORMS[form](Long(0)).restart().to(ps.collect()).run() == list(range(size))


async def test_a_source_that_takes_its_time_gives_other_tasks_theirs() -> None:
    turns: list[int] = []

    async def count_turns() -> None:
        while True:
            turns.append(1)
            await trio.lowlevel.checkpoint()

    def busy() -> Iterator[int]:
        for n in range(50):
            sum(range(50_000))  # about a millisecond
            yield n

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await ps.producer(busy)().restart().to(ps.drain()).run()
        nursery.cancel_scope.cancel()
    assert len(turns) > 10


SOON = ps.Backoff(0.001, factor=1)


class TestLines:
    """Producers of lines, which are a source and a stage that decodes."""

    async def test_a_program_that_fails_is_run_again(self, tmp_path: Path) -> None:
        count = tmp_path / "count"
        script = f'echo x >> {count}; n=$(wc -l < {count}); echo "$n ü"; test "$n" -ge 3'
        stream = ps.subprocess_lines(["sh", "-c", script]).restart(SOON)
        async with stream.map(str.upper).to(ps.collect()).open() as run:
            assert await run.result() == ["1 Ü", "2 Ü", "3 Ü"]
        source, decode, *_ = run.report().stages
        assert (source.name, source.retried, source.errors) == ("subprocess_lines(sh)", 2, 2)
        assert (decode.name, decode.items_in, decode.retried) == ("decode", 3, 0)

    async def test_one_that_can_not_be_started_fails_at_the_bound(self) -> None:
        stream = ps.subprocess_lines(["/no/such/program"]).restart(SOON, max_restarts=1)
        with pytest.raises(ps.StageError, match="TooManyRestarts: restarted once within 300 sec"):
            await stream.to(ps.drain()).run()

    async def test_a_line_that_can_not_be_decoded_restarts_nothing(self, tmp_path: Path) -> None:
        count = tmp_path / "count"
        script = f"echo x >> {count}; printf 'a\\n\\377\\nb\\n'"
        command = ["sh", "-c", script]
        with pytest.raises(ps.StageError, match=r"decode failed on item .* sh:2: "):
            await ps.subprocess_lines(command).restart(SOON).to(ps.drain()).run()
        assert count.read_text() == "x\n"
        skipping = ps.subprocess_lines(command, errors="skip").restart(SOON)
        assert await skipping.to(ps.collect()).run() == ["a", "b"]

    async def test_a_file_that_can_not_be_followed_is_tried_again(
        self, tmp_path: Path, autojump_clock: MockClock
    ) -> None:
        path = tmp_path / "log"
        path.mkdir()

        class Mending(ps.Backoff):
            def delay(self, failures: int, chance: float) -> float:
                path.rmdir()
                path.write_text("one\ntwo\n")
                return super().delay(failures, chance)

        stream = ps.follow(path, from_start=True).restart(Mending()).take(2)
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == ["one", "two"]
        assert run.report().stages[0].retried == 1

    @pytest.mark.parametrize(
        "read", [ps.read_lines, ps.read_jsonl, ps.read_csv, ps.read_msgpack, ps.read_parquet]
    )
    def test_a_file_that_would_come_twice_is_refused(self, read: Any) -> None:
        name = read.__name__
        with pytest.raises(ps.PipelineError) as caught:
            read("in").restart()
        assert str(caught.value).startswith(
            f"restart: {name}(in) would give from its beginning what it has given already; run the"
            " whole pipeline again, or, for the lines of a file that isn't there yet or still"
            " grows, use follow"
        )

    def test_so_is_standard_input(self) -> None:
        with pytest.raises(ps.PipelineError, match="restart: stdin_lines has no beginning to go"):
            ps.stdin_lines().restart()

    def test_its_stages_keep_their_names_and_lines(self) -> None:
        before = ps.subprocess_lines(["ls"])
        after = before.restart()
        assert after.graph().nodes == before.graph().nodes
        assert after._node.inputs[0].op != before._node.inputs[0].op


class TestWhereItGoes:
    def test_the_producer_keeps_its_name_and_line(self) -> None:
        before = ps.every(1)
        after = before.restart()
        assert after.graph().nodes == before.graph().nodes

    @pytest.mark.parametrize(
        ("stream", "name"),
        [
            (ps.every(1).map(str), r"map\(str\)"),
            (ps.every(1).buffer(2), "buffer"),
            (ps.merge(ps.every(1), ps.every(1)), "merge"),
        ],
    )
    def test_only_directly_behind_a_producer(self, stream: ps.Stream[Any], name: str) -> None:
        with pytest.raises(
            ps.PipelineError, match=f"restart: goes directly behind a producer, and {name} is none"
        ):
            stream.restart()

    def test_it_pickles_where_its_producer_does(self) -> None:
        node = ps.from_iterable(range(3)).restart(EVENLY)._node
        assert pickle.loads(pickle.dumps(node.op)).by_item is False

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"backoff": 3}, "backoff must be a Backoff, got 3"),
            ({"max_restarts": 0}, "max_restarts must be a whole number of at least 1"),
            ({"within": 0}, "within must be more than 0 seconds"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], problem: str) -> None:
        with pytest.raises(ps.PipelineError, match=f"restart: {problem}"):
            ps.every(1).restart(**options)
