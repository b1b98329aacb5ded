from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps
from penstock._meeting import find_hazard
from penstock._plan import plan

S = ps.Stream[Any]
numbers: S = ps.from_iterable(range(100))


async def answer(item: Any) -> Any:
    return item


@ps.transform
async def forward(receive: ps.Receiver[Any], send: ps.Sender[Any]) -> None:
    async for item in receive:
        await send(item)


def fork() -> tuple[S, S]:
    return numbers.broadcast(2, buffer=3)


def allowed(*ends: S) -> bool:
    return find_hazard(end.to(ps.collect())._node for end in ends) is None


IN_STEP: list[Callable[[S], S]] = [
    lambda s: s,
    lambda s: s.map(str),
    lambda s: s.scan(0, lambda a, b: a + b).tap(print).enumerate(),
    lambda s: s.map(str, errors=ps.retry(3)),
    lambda s: s.map_async(answer, 3, ordered=False),
    lambda s: s.map_blocking(str, 2),
    lambda s: s.delay(1).rate_limit(3).timeout(9),
    lambda s: s.buffer(2),
    lambda s: s.zip(numbers).map(str),
    lambda s: s.zip(numbers.filter(bool), numbers),
    lambda s: s.broadcast(1)[0],
]
FEWER: list[Callable[[S], S]] = [
    lambda s: s.filter(bool),
    lambda s: s.take(3),
    lambda s: s.skip(3),
    lambda s: s.batch(3),
    lambda s: s.batch(3, within=1),
    lambda s: s.pairwise(),
    lambda s: s.dedupe(),
    lambda s: s.throttle(1),
    lambda s: s.debounce(1),
    lambda s: s.map(str, errors="skip"),
    lambda s: s.map_async(answer, 3, errors=ps.retry(3, then="skip")),
]
ANY_NUMBER: list[Callable[[S], S]] = [
    lambda s: s.flat_map(str),
    lambda s: s.via(forward),
    lambda s: s.merge(numbers),
    lambda s: s.concat(numbers),
    lambda s: s.interleave(numbers),
    lambda s: s.merge_sorted(numbers),
    lambda s: s.combine_latest(numbers),
]


@pytest.mark.parametrize("operator", IN_STEP)
@pytest.mark.parametrize("join", [ps.zip, ps.interleave])
def test_branches_that_give_one_for_each_may_meet(
    operator: Callable[[S], S], join: Callable[..., S]
) -> None:
    one, two = fork()
    assert allowed(join(operator(one), two))
    one, two = fork()
    assert allowed(join(one, operator(two)))


@pytest.mark.parametrize("operator", FEWER)
def test_where_one_gives_fewer_the_other_needs_a_buffer(operator: Callable[[S], S]) -> None:
    one, two = fork()
    hazard = find_hazard([operator(one).zip(two).to(ps.collect())._node])
    assert hazard is not None
    assert hazard.branch is two._node
    assert hazard.because.name == operator(one)._node.name
    assert not allowed(operator(one).buffer(5).zip(two))
    assert allowed(operator(one).zip(two.buffer(5)))
    assert allowed(two.map(str).buffer(5).map(str).zip(operator(one)))
    assert not allowed(operator(one).zip(two.buffer(5, "drop_oldest")))  # now this has fewer
    assert allowed(operator(one).buffer(3).zip(two.buffer(5, "drop_oldest")))


@pytest.mark.parametrize("operator", ANY_NUMBER)
def test_where_one_may_give_more_both_need_one(operator: Callable[[S], S]) -> None:
    one, two = fork()
    assert not allowed(operator(one).zip(two))
    assert not allowed(operator(one).zip(two.buffer(5)))
    assert not allowed(operator(one).buffer(5).zip(two))
    assert allowed(operator(one).buffer(5).zip(two.buffer(5)))


@pytest.mark.parametrize(
    "split",
    [
        lambda: numbers.partition(bool),
        lambda: tuple(branch.map(str) for branch in numbers.partition(bool)),
    ],
)
def test_branches_of_a_partition_need_buffers(split: Callable[[], tuple[S, S]]) -> None:
    one, two = split()
    assert not allowed(one.zip(two))
    assert not allowed(one.zip(two.buffer(5)))
    assert allowed(one.buffer(5).zip(two.buffer(5)))
    assert allowed(one.merge(two))
    assert allowed(one.combine_latest(two))
    assert allowed(one, two)


def test_what_follows_a_route_has_no_number() -> None:
    one, two = fork()
    routed = one.route(str, {"1": lambda s: s}, otherwise=lambda s: s)
    assert not allowed(routed.buffer(5).zip(two))
    assert not allowed(routed.zip(two.buffer(5)))
    assert allowed(routed.buffer(5).zip(two.buffer(5)))


def test_a_sorted_merge_may_want_many_of_one_first() -> None:
    one, two = fork()
    assert not allowed(one.merge_sorted(two))
    assert not allowed(one.merge_sorted(two.buffer(5)))
    assert allowed(one.buffer(5).merge_sorted(two.buffer(5)))


def test_a_concat_needs_a_buffer_for_each_but_the_first() -> None:
    one, two, three = numbers.broadcast(3)
    assert not allowed(one.concat(two, three))
    assert not allowed(one.concat(two.buffer(5), three))
    assert not allowed(one.buffer(5).concat(two, three.buffer(5)))
    assert allowed(one.concat(two.buffer(5), three.buffer(5)))
    assert allowed(one.concat(numbers), two, three)


def test_branches_that_meet_after_joins() -> None:
    one, two, three = numbers.broadcast(3)
    assert allowed(one.zip(two).map(str).zip(three))
    assert not allowed(one.zip(two).filter(bool).zip(three))
    assert allowed(one.zip(two).filter(bool).zip(three.buffer(5)))
    assert not allowed(one.zip(two.filter(bool)).zip(three))
    assert not allowed(one.buffer(5).zip(two.filter(bool)).zip(three))
    assert allowed(one.buffer(5).zip(two.filter(bool)).zip(three.buffer(5)))


def test_branches_of_a_branch() -> None:
    one, two = fork()
    three, four = two.map(str).broadcast(2)
    assert allowed(one.zip(three, four))
    assert allowed(one.zip(three), four.filter(bool))
    assert not allowed(one.zip(three).zip(four.filter(bool)))
    assert not allowed(one.zip(three).buffer(3).zip(four.flat_map(str)))


def test_two_splits_and_two_joins_in_a_ring() -> None:
    """No two branches of a split meet, and yet each zip waits for the other."""
    one, two = fork()
    three, four = fork()
    assert allowed(one.zip(three), two.zip(four))
    assert not allowed(one.zip(three.filter(bool)), two.zip(four))
    assert allowed(one.zip(three.filter(bool)), two.zip(four.buffer(5)))
    assert allowed(one.buffer(5).zip(three.filter(bool)), two.zip(four))
    assert allowed(one.concat(three), two.concat(four))
    assert not allowed(one.concat(three), four.concat(two))
    assert allowed(one.concat(three.buffer(5)), four.concat(two))


def test_branches_that_never_meet_need_nothing() -> None:
    one, two = fork()
    assert allowed(one.filter(bool), two.flat_map(str))
    assert allowed(one.filter(bool).zip(numbers), two.flat_map(str).concat(numbers))


def test_many_diamonds_in_a_row_are_looked_at_once() -> None:
    stream = numbers
    for _ in range(200):
        one, two = stream.broadcast(2)
        stream = one.zip(two).map(str)
    assert allowed(stream)


def messages() -> Iterable[tuple[S, str]]:
    one, two = fork()
    yield (
        one.filter(bool).zip(two.map(str)),
        (
            r"zip: it could wait for ever once broadcast\[1\] is full: filter\(bool\) doesn't give"
            r" exactly one item for each that it takes; say how many items may wait there, with"
            r" \.buffer\(n\) between broadcast\[1\] and zip \(.*test_meeting\.py:\d+\)"
        ),
    )
    yield one.concat(two), r"concat: .* concat takes all of one stream before it asks the next;"
    yield one.merge_sorted(two), r"merge_sorted: .* may take many items of one stream before one"
    yield one.zip(two.merge(numbers)), r"zip: .* merge gives the items of several streams;"
    yes, no = numbers.partition(bool)
    yield (
        yes.zip(no),
        (
            r"once partition\.others is full: the branches of partition get different numbers of"
            r" items; .* between partition\.others and zip"
        ),
    )


@pytest.mark.parametrize(("stream", "message"), list(messages()))
def test_the_error_names_the_join_the_stage_and_the_remedy(stream: S, message: str) -> None:
    with pytest.raises(ps.PipelineError, match=message):
        plan(stream.to(ps.collect())._node)


def shortages(stream: S) -> list[tuple[str, str]]:
    checked = stream.to(ps.drain()).check()
    return [(each.level, each.problem) for each in checked if "wait" in each.problem]


class TestABufferThatMayBeTooSmall:
    def test_batches_that_it_has_no_room_for_are_an_error(self) -> None:
        one, two = fork()
        stream = one.batch(100).zip(two.buffer(10))
        [(level, problem)] = shortages(stream)
        assert level == "error"
        assert problem == (
            "it waits for ever once 10 items wait in the buffer between broadcast[1] and zip: the"
            " other way gives one item for each 100 of this one, so a long stream fills any buffer"
        )
        with pytest.raises(ps.PipelineError, match="zip: it waits for ever once 10 items wait"):
            plan(stream.to(ps.collect())._node)

    def test_a_way_that_gets_more_than_the_other_is_a_warning(self) -> None:
        one, two = fork()
        stream = one.batch(10).zip(two.buffer(100))
        assert [level for level, _ in shortages(stream)] == ["warning"]
        assert allowed(stream)

    def test_ways_that_get_the_same_need_not_be_told_of(self) -> None:
        one, two = fork()
        assert shortages(one.batch(10).buffer(1).zip(two.batch(10).buffer(1))) == []
        assert shortages(one.buffer(3).zip(two.buffer(1))) == []

    def test_only_the_way_that_gets_more_is_told_of(self) -> None:
        one, two = fork()
        [(level, problem)] = shortages(one.batch(2).buffer(9).zip(two.batch(6).buffer(9)))
        assert level == "warning"
        assert "between broadcast[0] and zip" in problem
        assert "for each 3 of this one" in problem

    def test_where_the_numbers_are_not_known_it_is_a_hint(self) -> None:
        one, two = fork()
        for stream in (
            one.filter(bool).zip(two.buffer(5)),
            one.concat(two.buffer(5)),
            one.batch(3, within=1).zip(two.buffer(5)),
        ):
            assert [level for level, _ in shortages(stream)] == ["hint"]
            assert allowed(stream)

    def test_a_buffer_that_drops_never_fills(self) -> None:
        one, two = numbers.partition(bool)
        stream = one.buffer(5, "drop_oldest").zip(two.buffer(5, "drop_newest"))
        assert shortages(stream) == []

    def test_an_endless_stream_fills_any_buffer(self) -> None:
        def concatenated(source: S) -> S:
            one, two = source.broadcast(2)
            return one.concat(two.buffer(1000))

        def zipped(source: S) -> S:
            one, two = source.broadcast(2)
            return one.batch(2).zip(two.buffer(1000))

        for make in (concatenated, zipped):
            [(level, problem)] = shortages(make(ps.every(1)))
            assert level == "error"
            assert problem.endswith("and the stream never ends")
            [(level, _)] = shortages(make(ps.every(1).take(5)))
            assert level != "error"

    @pytest.mark.parametrize(("batch", "room"), [(5, 4), (5, 50)])
    async def test_what_is_told_is_so(
        self, batch: int, room: int, autojump_clock: MockClock
    ) -> None:
        """What the check says of ways that get different numbers, on a stream that is long."""
        one, two = ps.from_iterable(range(10_000)).broadcast(2)
        pipeline = one.batch(batch).zip(two.buffer(room)).to(ps.count())
        [finding] = pipeline.check()
        if finding.level == "error":
            with pytest.raises(ps.PipelineError, match="it waits for ever"):
                await pipeline.run()
            return
        with trio.move_on_after(1000) as scope:
            await pipeline.run()
        assert scope.cancelled_caught


async def test_it_is_told_when_it_is_to_run_and_not_when_it_is_drawn() -> None:
    one, two = fork()
    pipeline = one.filter(bool).zip(two)
    assert "zip" in pipeline.graph().text()
    with pytest.raises(ps.PipelineError, match="zip: it could wait for ever"):
        await pipeline.to(ps.collect()).run()
