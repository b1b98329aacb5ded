from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps

Join = Callable[..., ps.Stream[Any]]
JOINS: list[Join] = [
    ps.concat,
    ps.interleave,
    ps.zip,
    partial(ps.zip, strict=True),
    ps.combine_latest,
    ps.merge_sorted,
]


@ps.producer
async def endless(send: ps.Sender[int], log: list[str], name: str) -> None:
    log.append(f"{name} starts")
    try:
        for n in range(10**9):
            await send(n)
    finally:
        log.append(f"{name} ends")


@ps.producer
async def noted(log: list[str], name: str, count: int) -> AsyncIterator[str]:
    log.append(f"{name} starts")
    try:
        for n in range(count):
            yield f"{name}{n}"
    finally:
        log.append(f"{name} ends")


@ps.producer(chunked=True)
async def in_chunks(send: ps.Sender[Any], *chunks: list[Any]) -> None:
    for chunk in chunks:
        await send.chunk(chunk)


@ps.producer
async def at(send: ps.Sender[str], *times: tuple[float, str]) -> None:
    for time, item in times:
        await trio.sleep_until(time)
        await send(item)


async def timed(stream: ps.Stream[Any]) -> list[tuple[float, Any]]:
    """Each item with the time at which it came."""
    started = trio.current_time()
    now = stream.map(lambda item: (trio.current_time() - started, item))
    return await now.to(ps.collect()).run()


def explode(item: object) -> object:
    raise ValueError(item)


# All joins


@pytest.mark.parametrize("join", JOINS)
async def test_an_error_of_one_stream_ends_the_others(join: Join) -> None:
    log: list[str] = []
    failing = ps.from_iterable([7]).map(explode)
    with pytest.raises(ps.StageError, match=r"map\(explode\) failed on item 7"):
        await join(failing, endless(log, "a")).to(ps.drain()).run()
    assert log in ([], ["a starts", "a ends"])


@pytest.mark.parametrize("join", JOINS)
async def test_when_no_more_is_wanted_all_streams_end(join: Join) -> None:
    log: list[str] = []
    streams = [endless(log, "a"), endless(log, "b")]
    await join(*streams).take(5).to(ps.drain()).run()
    assert log.count("a starts") == log.count("a ends") == 1
    assert log.count("b starts") == log.count("b ends")


@pytest.mark.parametrize("join", JOINS)
async def test_cancelled_nothing_is_left(join: Join, autojump_clock: MockClock) -> None:
    log: list[str] = []
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(1) as scope:
        await join(endless(log, "a"), endless(log, "b")).to(ps.for_each(_never)).run()
    assert scope.cancelled_caught
    assert log.count("a starts") == log.count("a ends") == 1
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def _never(_: object) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("join", JOINS)
async def test_while_the_sink_is_busy_the_streams_wait(join: Join) -> None:
    sent = [0, 0]

    @ps.producer(chunked=True)
    async def counted(send: ps.Sender[int], name: int) -> None:
        for n in range(10**9):
            await send.chunk([n])
            sent[name] += 1

    async with join(counted(0), counted(1)).to(ps.for_each(_never)).open() as run:
        await wait_all_tasks_blocked()
        assert 0 < sent[0] < 5000
        assert sent[1] < 5000
        await run.stop(0)


@pytest.mark.parametrize("join", [join for join in JOINS if not isinstance(join, partial)])
async def test_stopped_it_drains(join: Join) -> None:
    log: list[str] = []
    begun = trio.Event()
    stream = join(endless(log, "a"), endless(log, "b")).tap(lambda _: begun.set())
    async with stream.to(ps.count()).open() as run:
        await begun.wait()
        await run.stop()
    assert await run.result() > 0
    assert run.report().outcome == "stopped"
    assert log.count("a starts") == log.count("a ends") == 1


@pytest.mark.parametrize("join", JOINS)
def test_what_is_no_stream_is_refused(join: Join) -> None:
    with pytest.raises(ps.PipelineError, match=r"takes Streams, got \[1\]"):
        join(ps.from_iterable([1]), [1])
    with pytest.raises(ps.PipelineError, match="takes at least one Stream"):
        join()


@pytest.mark.parametrize("join", JOINS)
async def test_streams_that_give_nothing_give_nothing(join: Join) -> None:
    empty: ps.Stream[int] = ps.from_iterable([])
    assert await join(empty, empty).to(ps.collect()).run() == []


@pytest.mark.parametrize("join", [ps.concat, ps.interleave, ps.merge])
def test_of_a_single_stream_some_are_that_stream(join: Join) -> None:
    stream = ps.from_iterable([1])
    assert join(stream) is stream


# concat


async def test_a_stream_starts_when_the_one_before_it_has_ended() -> None:
    log: list[str] = []
    streams = [noted(log, name, 2) for name in "abc"]
    items = await ps.concat(*streams).to(ps.collect()).run()
    assert items == ["a0", "a1", "b0", "b1", "c0", "c1"]
    assert log == ["a starts", "a ends", "b starts", "b ends", "c starts", "c ends"]


@pytest.mark.parametrize(
    "nested",
    [
        lambda a, b, c: a.concat(b.concat(c)),
        lambda a, b, c: a.concat(b).concat(c),
        lambda a, b, c: a.concat(b.map(str).buffer(2).concat(c.buffer(3).map(str))),
        lambda a, b, c: a.concat(ps.merge(b).map_async(_same, 2), c),
    ],
)
async def test_so_it_does_in_a_concat_of_concats(nested: Join) -> None:
    log: list[str] = []
    stream = nested(*(noted(log, name, 1) for name in "abc"))
    assert await stream.to(ps.collect()).run() == ["a0", "b0", "c0"]
    assert log == ["a starts", "a ends", "b starts", "b ends", "c starts", "c ends"]


async def _same(item: Any) -> Any:
    return item


async def test_a_stream_that_is_not_wanted_never_starts() -> None:
    log: list[str] = []
    assert await noted(log, "a", 9).concat(noted(log, "b", 9)).take(2).to(ps.count()).run() == 2
    assert log == ["a starts", "a ends"]


async def test_stopped_in_the_first_stream_the_second_never_starts() -> None:
    log: list[str] = []
    taken = trio.Event()
    stream = endless(log, "a").concat(endless(log, "b")).tap(lambda _: taken.set())
    async with stream.to(ps.count()).open() as run:
        await taken.wait()
        await run.stop()
    assert await run.result() > 0
    assert log == ["a starts", "a ends"]


async def test_a_source_that_another_branch_needs_starts_at_once(
    autojump_clock: MockClock,
) -> None:
    one, two = ps.every(1, count=3).broadcast(2)
    first: ps.Stream[Any] = at((10, "first"))
    later, now = await ps.gather(
        first.concat(one).to(ps.collect()),
        two.map(lambda n: (n, trio.current_time())).to(ps.collect()),
    ).run()
    assert later == ["first", 0, 1, 2]
    assert [n for n, _ in now] == [0, 1, 2]
    assert now[-1][1] < 3


async def test_a_way_behind_a_source_that_others_need_is_open_at_once(
    autojump_clock: MockClock,
) -> None:
    """Else what waits there, in a buffer as big as it takes, would hold the source up."""
    one, two = ps.from_iterable(range(5000)).broadcast(2, buffer=10)
    joined = two.concat(one.map(str).buffer(5000))
    with trio.fail_after(1):
        assert await joined.to(ps.count()).run() == 10_000


async def test_a_split_and_all_its_branches_wait_for_their_turn() -> None:
    log: list[str] = []
    one, two = noted(log, "b", 2).broadcast(2)
    items = await noted(log, "a", 1).concat(one.zip(two)).to(ps.collect()).run()
    assert items == ["a0", ("b0", "b0"), ("b1", "b1")]
    assert log == ["a starts", "a ends", "b starts", "b ends"]


# zip


async def test_zip_gives_tuples_and_ends_with_the_shortest() -> None:
    streams = (ps.from_iterable(range(5000)), ps.from_iterable("abc"), ps.from_iterable(range(9)))
    assert await ps.zip(*streams).to(ps.collect()).run() == [(0, "a", 0), (1, "b", 1), (2, "c", 2)]


async def test_its_end_cancels_the_others_even_silent_ones(autojump_clock: MockClock) -> None:
    log: list[str] = []
    silent = at((0, "x"), (3600, "y"))
    items = await timed(ps.zip(silent, noted(log, "a", 1), endless(log, "b")))
    assert items == [(0, ("x", "a0", 0))]
    assert trio.current_time() < 1
    assert log[-1] == "b ends"


async def test_a_tuple_goes_on_at_once(autojump_clock: MockClock) -> None:
    one, two = at((1, "a"), (2, "b")), at((0, "A"), (5, "B"))
    assert await timed(one.zip(two)) == [(1, ("a", "A")), (5, ("b", "B"))]


async def test_a_zip_of_one_stream_gives_tuples_of_one() -> None:
    assert await ps.zip(ps.from_iterable("ab")).to(ps.collect()).run() == [("a",), ("b",)]


async def test_a_stream_zipped_with_itself_runs_twice() -> None:
    log: list[str] = []
    stream = noted(log, "a", 2)
    assert await stream.zip(stream).to(ps.collect()).run() == [("a0", "a0"), ("a1", "a1")]
    assert log.count("a starts") == 2


async def test_a_big_buffer_is_zipped_in_many_turns() -> None:
    """However much there is at once, the event loop gets its turn."""
    many = ps.from_iterable(range(50_000)).buffer(100_000)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        assert await many.zip(many).to(ps.count()).run() == 50_000
        nursery.cancel_scope.cancel()
    assert turns > 5


@pytest.mark.parametrize(
    ("one", "two", "error"),
    [
        ([1, 2], [1, 2, 3], "on item 3: ValueError: stream 2 goes on after stream 1 has ended"),
        ([1, 2, 3, 4], [1, 2], "on item 3: ValueError: stream 1 goes on after stream 2"),
        ([], [5], "on item 5: ValueError: stream 2 goes on after stream 1"),
    ],
)
@pytest.mark.parametrize("gap", [0, 1])
async def test_strict_zip_refuses_different_lengths(
    one: list[int], two: list[int], error: str, gap: int, autojump_clock: MockClock
) -> None:
    spread = ps.from_iterable(one).rate_limit(1, per=1) if gap else ps.from_iterable(one)
    with pytest.raises(ps.StageError, match=f"zip failed {error}"):
        await spread.zip(ps.from_iterable(two), strict=True).to(ps.drain()).run()


async def test_strict_zip_takes_equal_lengths() -> None:
    numbers = ps.from_iterable(range(3000))
    zipped = numbers.zip(numbers.buffer(7), numbers.batch(1), strict=True)
    assert await zipped.to(ps.count()).run() == 3000


def test_strict_is_true_or_false() -> None:
    with pytest.raises(ps.PipelineError, match="zip: strict must be True or False, got 'yes'"):
        ps.zip(ps.from_iterable([1]), strict="yes")  # type: ignore[call-overload]  # that is what is tested


# interleave


async def test_interleave_takes_turns_and_passes_over_those_that_have_ended() -> None:
    streams = (ps.from_iterable("ab"), in_chunks(["A"], ["B", "C", "D"]), ps.from_iterable([1]))
    items = await ps.interleave(*streams).to(ps.collect()).run()
    assert items == ["a", "A", 1, "b", "B", "C", "D"]


async def test_interleave_gives_an_item_when_it_is_its_turn(autojump_clock: MockClock) -> None:
    one, two = at((1, "a"), (2, "b")), at((0, "A"), (5, "B"))
    assert await timed(one.interleave(two)) == [(1, "a"), (1, "A"), (2, "b"), (5, "B")]


async def test_interleave_keeps_chunks() -> None:
    sizes: list[int] = []

    @ps.sink
    async def note_sizes(receive: ps.Receiver[int]) -> None:
        sizes.extend([len(items) async for items in receive.chunks()])

    numbers = ps.from_iterable(range(20_000))
    await numbers.interleave(numbers).to(note_sizes()).run()
    assert sum(sizes) == 40_000
    assert len(sizes) < 400


# combine_latest


async def test_combine_latest_gives_every_change_once_all_have_an_item(
    autojump_clock: MockClock,
) -> None:
    one, two = at((0, "a"), (1, "b"), (4, "c")), at((2, "A"), (3, "B"))
    assert await timed(one.combine_latest(two)) == [
        (2, ("b", "A")),
        (3, ("b", "B")),
        (4, ("c", "B")),
    ]


async def test_combine_latest_leaves_no_change_out_for_a_slow_reader() -> None:
    numbers = in_chunks(*([n] for n in range(3000)))
    pairs = await ps.combine_latest(in_chunks(["x"]), numbers).buffer(3).to(ps.collect()).run()
    first = pairs[0][1]
    assert pairs == [("x", n) for n in range(first, 3000)]


async def test_no_tuple_goes_back_in_time() -> None:
    def slow(pair: tuple[int, int]) -> tuple[int, int]:
        sum(range(2000))
        return pair

    one, two = ps.from_iterable(range(3000)), ps.from_iterable(range(3000)).buffer(50)
    pairs = await one.combine_latest(two).map(slow).to(ps.collect()).run()
    for (a, b), (c, d) in pairwise(pairs):
        assert (a, b) < (c, d)
        assert a <= c
        assert b <= d
    assert pairs[-1] == (2999, 2999)


async def test_combine_latest_ends_with_a_stream_that_had_no_item() -> None:
    log: list[str] = []
    nothing: ps.Stream[int] = ps.from_iterable([])
    assert await endless(log, "a").combine_latest(nothing).to(ps.collect()).run() == []
    assert log == ["a starts", "a ends"]
