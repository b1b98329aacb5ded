from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps


@ps.producer
async def counted(send: ps.Sender[int], log: list[Any], count: int) -> None:
    log.append("starts")
    try:
        for n in range(count):
            await send(n)
            log.append(n)
    finally:
        log.append("ends")


async def never(_: object) -> None:
    await trio.sleep_forever()


def is_even(n: int) -> bool:
    if n == 3:
        raise ValueError("I don't like it")
    return n % 2 == 0


# broadcast


async def test_each_branch_gets_everything_and_the_source_runs_once() -> None:
    log: list[Any] = []
    branches = counted(log, 2000).broadcast(3)
    doubled = branches[2].map(lambda n: 2 * n)
    results = await ps.gather(
        branches[0].to(ps.collect()), branches[1].to(ps.count()), doubled.to(ps.collect())
    ).run()
    assert results == (list(range(2000)), 2000, list(range(0, 4000, 2)))
    assert log.count("starts") == log.count("ends") == 1


async def test_a_branch_changes_its_own_list_only() -> None:
    @ps.transform
    async def emptied(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
        async for items in receive.chunks():
            kept = items.copy()
            items.clear()
            await send.chunk(kept)

    a, b = ps.from_iterable(range(3000)).broadcast(2)
    results = await ps.gather(a.via(emptied).to(ps.collect()), b.to(ps.collect())).run()
    assert results == (list(range(3000)), list(range(3000)))


async def test_the_slowest_branch_holds_the_source() -> None:
    log: list[Any] = []
    got: list[int] = []
    slow, quick = counted(log, 10**9).broadcast(2, buffer=5)
    pipeline = ps.gather(slow.to(ps.for_each(never)), quick.to(ps.for_each(got.append)))
    async with pipeline.open() as run:
        await wait_all_tasks_blocked()
        assert 5 <= len(got) <= 20
        assert len(log) < 3000
        await run.stop(0)
    assert log[-1] == "ends"


async def test_one_that_drops_items_does_not() -> None:
    slow, quick = ps.from_iterable(range(50_000)).broadcast(2)
    done = trio.Event()
    seen: list[int] = []

    async def wait_and_see(item: int) -> None:
        await done.wait()
        seen.append(item)

    async def is_over(item: int) -> None:
        if item == 49_999:
            done.set()

    latest = slow.buffer(1, "drop_oldest").to(ps.for_each(wait_and_see))
    await ps.gather(latest, quick.to(ps.for_each(is_over))).run()
    assert seen[-1] == 49_999
    assert len(seen) <= 2


async def test_a_dropping_branch_makes_no_small_chunks_for_the_others() -> None:
    sizes: list[int] = []

    @ps.sink
    async def note_sizes(receive: ps.Receiver[int]) -> None:
        sizes.extend([len(items) async for items in receive.chunks()])

    one, two = ps.from_iterable(range(20_000)).broadcast(2)
    await ps.gather(one.buffer(1, "drop_oldest").to(ps.drain()), two.to(note_sizes())).run()
    assert sum(sizes) == 20_000
    assert len(sizes) < 400


async def test_a_branch_that_ends_early_drops_out() -> None:
    log: list[Any] = []
    one, two = counted(log, 5000).broadcast(2, buffer=10)
    results = await ps.gather(one.take(3).to(ps.collect()), two.to(ps.count())).run()
    assert results == ([0, 1, 2], 5000)


async def test_with_the_last_branch_the_source_ends() -> None:
    log: list[Any] = []
    one, two = counted(log, 10**9).broadcast(2, buffer=10)
    results = await ps.gather(one.take(3).to(ps.collect()), two.take(50).to(ps.count())).run()
    assert results == ([0, 1, 2], 50)
    assert log[-1] == "ends"


async def test_an_error_in_a_branch_ends_all() -> None:
    log: list[Any] = []
    one, two = counted(log, 10**9).broadcast(2)
    with pytest.raises(ps.StageError, match=r"map\(is_even\) failed on item 3"):
        await ps.gather(one.map(is_even).to(ps.drain()), two.to(ps.count())).run()
    assert log[-1] == "ends"


async def test_an_overflow_behind_a_branch_is_the_buffers() -> None:
    one, two = ps.from_iterable(range(5000)).broadcast(2)
    failing = one.buffer(10, "fail").to(ps.for_each(never))
    with pytest.raises(ps.StageError, match="buffer failed: BufferOverflow"):
        await ps.gather(failing, two.to(ps.count())).run()


async def test_branches_of_branches() -> None:
    one, two = ps.from_iterable(range(100)).broadcast(2)
    three, four = two.map(str).broadcast(2)
    results = await ps.gather(one.to(ps.count()), three.to(ps.count()), four.to(ps.collect())).run()
    assert results == (100, 100, [str(n) for n in range(100)])


async def test_a_broadcast_to_one_is_the_stream() -> None:
    (only,) = ps.from_iterable(range(5)).broadcast(1)
    assert await only.to(ps.collect()).run() == [0, 1, 2, 3, 4]


async def test_branches_meet_again() -> None:
    one, two = ps.from_iterable(range(1000)).broadcast(2, buffer=3)
    pairs = await one.map_async(_double, 4).zip(two, strict=True).to(ps.collect()).run()
    assert pairs == [(2 * n, n) for n in range(1000)]


async def _double(n: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * n


async def test_whoever_sends_all_branches_have_one_order() -> None:
    """A stage may send from several of its tasks at once."""

    @ps.producer(chunked=True)
    async def in_two_tasks(send: ps.Sender[int]) -> None:
        async def send_all(sign: int) -> None:
            for item in range(500):
                await send.chunk([sign * item, sign * item])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, 1)
            nursery.start_soon(send_all, -1)

    one, two = in_two_tasks().broadcast(2, buffer=2)
    ones, twos = await ps.gather(
        one.to(ps.collect()), two.map_async(_double, 1).to(ps.collect())
    ).run()
    assert [2 * n for n in ones] == twos
    assert sorted(ones) == sorted(2 * [*range(500), *(-n for n in range(500))])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((0,), "broadcast: n must be a whole number of at least 1, got 0"),
        ((2, 0), "broadcast: buffer must be a whole number of at least 1, got 0"),
        ((2.0,), "broadcast: n must be a whole number"),
    ],
)
def test_wrong_options_of_broadcast_are_refused(arguments: Any, problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=problem):
        ps.from_iterable([1]).broadcast(*arguments)


async def test_a_branch_must_not_go_nowhere() -> None:
    one, _two = ps.from_iterable([1]).broadcast(2)
    with pytest.raises(ps.PipelineError, match="broadcast: branch 2 of 2 goes nowhere; end each"):
        await one.to(ps.collect()).run()


async def test_a_branch_is_used_once() -> None:
    one, two = ps.from_iterable([1]).broadcast(2)
    twice = ps.gather(one.to(ps.collect()), one.to(ps.count()), two.to(ps.count()))
    with pytest.raises(ps.PipelineError, match=r"broadcast\[0\]: is used twice"):
        await twice.run()


# gather


async def test_gather_runs_pipelines_together_and_gives_all_results(
    autojump_clock: MockClock,
) -> None:
    one = ps.every(1, count=3).to(ps.collect())
    two = ps.every(2, count=2).to(ps.count())
    assert await ps.gather(one, two).run() == ([0, 1, 2], 2)
    assert trio.current_time() < 3


async def test_the_first_that_fails_cancels_the_others() -> None:
    log: list[Any] = []
    failing = ps.from_iterable([3]).map(is_even).to(ps.drain())
    with pytest.raises(ps.StageError, match="I don't like it"):
        await ps.gather(counted(log, 10**9).to(ps.count()), failing).run()
    assert log[-1:] in (["ends"], [])


@pytest.mark.parametrize(
    ("pipelines", "problem"),
    [
        ((), "gather: takes at least one Pipeline"),
        ((ps.from_iterable([1]),), "gather: takes Pipelines, got <Stream from_iterable>"),
        (
            (ps.gather(ps.from_iterable([1]).to(ps.count())),),
            "gather: takes no gathered pipelines",
        ),
    ],
)
def test_what_is_no_pipeline_is_not_gathered(pipelines: Any, problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=problem):
        ps.gather(*pipelines)


# partition


async def test_partition_gives_each_item_to_one_of_two_streams() -> None:
    parts = ps.from_iterable(range(3000)).partition(lambda n: n % 3 == 0)
    results = await ps.gather(parts.others.to(ps.collect()), parts.matching.to(ps.collect())).run()
    assert results == ([n for n in range(3000) if n % 3], list(range(0, 3000, 3)))


async def test_a_failing_predicate_fails_the_stage_on_the_item() -> None:
    evens, odds = ps.from_iterable(range(9)).partition(is_even)
    with pytest.raises(ps.StageError, match=r"partition\(is_even\) failed on item 3: ValueError"):
        await ps.gather(evens.to(ps.drain()), odds.to(ps.drain())).run()


async def test_or_its_item_is_skipped_sent_aside_or_asked_for_again(
    autojump_clock: MockClock,
) -> None:
    letters: list[ps.DeadLetter[int]] = []
    aside = ps.dead_letter(ps.for_each(letters.append))
    for errors in ("skip", aside, ps.retry(2, ps.Backoff(1, 1), then=aside)):
        evens, odds = ps.from_iterable(range(6)).partition(is_even, errors=errors)
        pipeline = ps.gather(evens.to(ps.collect()), odds.to(ps.collect()))
        async with pipeline.open() as run:
            assert await run.result() == ([0, 2, 4], [1, 5])
        stage = run.report().stages[1]
        assert (stage.items_in, stage.items_out, stage.skipped + stage.dead_lettered) == (6, 5, 1)
    assert [(letter.item, letter.attempts) for letter in letters] == [(3, 1), (3, 2)]


def test_wrong_options_of_partition_are_refused() -> None:
    with pytest.raises(ps.PipelineError, match="partition: matches must be an ordinary function"):
        ps.from_iterable([1]).partition(never)
    with pytest.raises(ps.PipelineError, match="partition: errors must be 'raise'"):
        ps.from_iterable([1]).partition(is_even, errors="no")  # type: ignore[call-overload]  # that is what is tested


# route


def kind(item: Any) -> str:
    return type(item).__name__


async def test_route_sends_each_item_through_its_function() -> None:
    mixed: list[Any] = [1, "a", 2.5, "b", 2, None]
    routed = ps.from_iterable(mixed).route(
        kind,
        {"int": lambda s: s.map(lambda n: n * 10), "str": lambda s: s.batch(2)},
        otherwise=lambda s: s.filter(bool),
    )
    items = await routed.to(ps.collect()).run()
    assert sorted(items, key=repr) == [10, 2.5, 20, ["a", "b"]]


async def test_items_of_one_route_keep_their_order() -> None:
    routed = ps.from_iterable(range(5000)).route(
        lambda n: n % 3, {0: lambda s: s, 1: lambda s: s.buffer(7)}, otherwise=lambda s: s.map(int)
    )
    items = await routed.to(ps.collect()).run()
    assert len(items) == 5000
    for rest in range(3):
        assert [n for n in items if n % 3 == rest] == list(range(rest, 5000, 3))


async def test_what_has_no_route_fails_the_stage() -> None:
    routed = ps.from_iterable([1, "a"]).route(kind, {"int": lambda s: s})
    with pytest.raises(ps.StageError, match=r"route\(kind\) failed on item 'a': LookupError: no"):
        await routed.to(ps.drain()).run()


async def test_or_is_dropped_or_skipped_counted() -> None:
    items: list[Any] = [1, "a", 2, "b", []]

    def of(item: Any) -> Any:
        return [] if item == [] else kind(item)

    for otherwise, counts in (("drop", (2, 1)), ("raise", (0, 3))):
        routed = ps.from_iterable(items).route(
            of,
            {"int": lambda s: s},
            otherwise,  # type: ignore[arg-type]  # one of the two words
            errors="skip",
        )
        async with routed.to(ps.collect()).open() as run:
            assert await run.result() == [1, 2]
        stage = run.report().stages[1]
        assert (stage.dropped, stage.skipped) == counts
        assert stage.items_out == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((None, {1: str}), "route: key must be a function"),
        ((kind, {}), "route: routes must name at least one value"),
        ((kind, [1]), "route: routes must be a dict of functions"),
        ((kind, {1: 2}), r"route: routes\[1\] must be a function, got 2"),
        ((kind, {1: lambda s: s}, "ignore"), "route: otherwise must be 'raise', 'drop' or a func"),
        ((kind, {1: lambda s: None}), "via: .* must give a Stream, but gave None"),
    ],
)
def test_wrong_options_of_route_are_refused(arguments: Any, problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=problem):
        ps.from_iterable([1]).route(*arguments)


async def test_a_route_whose_items_go_nowhere_is_refused() -> None:
    routed = ps.from_iterable([1]).route(
        kind, {"int": lambda s: s, "str": lambda _: ps.from_iterable([2])}
    )
    with pytest.raises(ps.PipelineError, match="route: branch 2 of 2 goes nowhere"):
        await routed.to(ps.collect()).run()
