"""What ``errors=`` does, on every operator that calls a function; and how runs end."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps
from penstock import testing
from penstock._failing import Errors

ITEMS = list(range(8))
BAD = (2, 5)
GOOD = [item for item in ITEMS if item not in BAD]
STEADY = ps.Backoff(1, 60, jitter=False)


class Broken(Exception):
    pass


class Flaky:
    """A function that fails on some items, each at its first calls, or always."""

    def __init__(self, bad: dict[int, int] | None = None) -> None:
        self.bad = dict.fromkeys(BAD, 10**9) if bad is None else bad
        self.calls: Counter[int] = Counter()
        self.times: dict[int, list[float]] = {}

    def __call__(self, item: int) -> int:
        self.calls[item] += 1
        self.times.setdefault(item, []).append(trio.current_time())
        if self.calls[item] <= self.bad.get(item, 0):
            raise Broken(f"no {item}")
        return item

    def without_clock(self, item: int) -> int:
        """For threads."""
        self.calls[item] += 1
        if self.calls[item] <= self.bad.get(item, 0):
            raise Broken(f"no {item}")
        return item


Check: TypeAlias = Callable[[int], int]
Operator: TypeAlias = Callable[[ps.Stream[int], Check, Errors], ps.Stream[int]]


def as_async(check: Check) -> Callable[[int], Any]:
    async def answer(item: int) -> int:
        await trio.lowlevel.checkpoint()
        return check(item)

    return answer


def as_inner(check: Check) -> Callable[[int], AsyncIterator[int]]:
    async def inner(item: int) -> AsyncIterator[int]:
        yield check(item)

    return inner


STEPS: dict[str, Operator] = {
    "map": lambda s, check, errors: s.map(check, errors=errors),
    "filter": lambda s, check, errors: s.filter(lambda n: check(n) >= 0, errors=errors),
    "flat_map": lambda s, check, errors: s.flat_map(lambda n: [check(n)], errors=errors),
    "scan": lambda s, check, errors: s.scan(0, lambda _, n: check(n), errors=errors),
    "tap": lambda s, check, errors: s.tap(check, errors=errors),
    "take_while": lambda s, check, errors: s.take_while(lambda n: check(n) >= 0, errors=errors),
    "dedupe": lambda s, check, errors: s.dedupe(check, errors=errors),
    "distinct": lambda s, check, errors: s.distinct(check, errors=errors),
    "buffer": lambda s, check, errors: s.buffer(9, "conflate", key=check, errors=errors),
}
TASKS: dict[str, Operator] = {
    "map_async": lambda s, check, errors: s.map_async(as_async(check), 1, errors=errors),
    "map_async, many": lambda s, check, errors: s.map_async(as_async(check), 4, errors=errors),
    "flat_map_async": lambda s, check, errors: s.flat_map_async(
        as_inner(check), 1, ordered=True, errors=errors
    ),
}
OPERATORS = STEPS | TASKS
each_operator = pytest.mark.parametrize("operator", OPERATORS)


def letters_to(letters: list[ps.DeadLetter[Any]]) -> Any:
    return ps.dead_letter(ps.for_each(letters.append))


async def run_to_report(pipeline: ps.Pipeline[Any]) -> tuple[Any, ps.Report]:
    async with pipeline.open() as run:
        result = await run.result()
    testing.assert_balanced(run.report())
    return result, run.report()


async def fail_to_report(pipeline: ps.Pipeline[Any]) -> tuple[ps.StageError, ps.Report]:
    with pytest.raises(ps.StageError) as caught:
        async with pipeline.open() as run:
            await run.result()
    testing.assert_balanced(run.report())
    return caught.value, run.report()


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def stage(report: ps.Report, operator: str) -> ps.StageStats:
    """The one stage of an operator that calls a function."""
    name = operator.partition(",")[0]
    (found,) = [each for each in report.stages if each.name.startswith(f"{name}(")]
    return found


class TestRaise:
    @each_operator
    async def test_it_fails_the_run_and_names_stage_and_item(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), Flaky(), "raise")
        error, report = await fail_to_report(stream.to(ps.collect()))
        assert error.stage == stage(report, operator).name
        assert error.item_repr == "2"
        assert str(error.cause) == "no 2"
        assert report.outcome == "failed"
        assert stage(report, operator).errors >= 1

    async def test_what_the_stages_held_then_is_abandoned(self, autojump_clock: MockClock) -> None:
        async def slow(item: int) -> int:
            await trio.sleep(1)
            return Flaky()(item)

        stream = ps.from_iterable(range(100)).buffer(5).map_async(slow, 2).map(str)
        _, report = await fail_to_report(stream.to(ps.collect()))
        source, *others = report.stages
        lost = sum(each.abandoned for each in others)
        assert source.items_out == lost + others[-1].absorbed
        assert lost > 5


class TestSkip:
    @each_operator
    async def test_it_leaves_out_the_item_and_counts_it(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), Flaky(), "skip")
        result, report = await run_to_report(stream.to(ps.collect()))
        found = stage(report, operator)
        assert result == GOOD
        assert (found.skipped, found.errors, found.retried) == (2, 2, 0)
        assert (found.items_in, found.items_out) == (8, 6)


class TestDeadLetter:
    @each_operator
    async def test_it_sends_the_item_aside_with_what_is_to_be_known_of_it(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        letters: list[ps.DeadLetter[Any]] = []
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), Flaky(), letters_to(letters))
        result, report = await run_to_report(stream.to(ps.collect()))
        found = stage(report, operator)
        assert result == GOOD
        letters.sort(key=lambda letter: letter.item)
        assert [(each.item, each.stage, each.attempts) for each in letters] == [
            (2, found.name, 1),
            (5, found.name, 1),
        ]
        assert all(type(each.error) is Broken for each in letters)
        assert str(letters[0]) == f"{found.name} failed on 2: Broken: no 2"
        assert (found.dead_lettered, found.errors, found.skipped) == (2, 2, 0)
        assert report.stages[-1].items_in == 2

    async def test_three_operators_and_a_sink_share_one_file(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        path = tmp_path / "letters.jsonl"
        letters = ps.dead_letter(ps.write_jsonl(path))

        def first(n: int) -> int:
            return Flaky({2: 1})(n)

        async def second(n: int) -> int:
            return Flaky({5: 1})(n)

        def third(n: int) -> bool:
            return bool(Flaky({6: 1})(n) + 1)

        def fourth(n: int) -> None:
            Flaky({7: 1})(n)

        stream = (
            ps.from_iterable(ITEMS)
            .map(first, errors=letters)
            .map_async(second, 2, errors=letters)
            .filter(third, errors=ps.retry(2, STEADY, then=letters))
        )
        _, report = await run_to_report(stream.to(ps.for_each(fourth, errors=letters)))
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        written = sorted((line["item"], line["stage"], line["attempts"]) for line in lines)
        assert written == [
            (2, "map(first)", 1),
            (5, "map_async(second)", 1),
            (6, "filter(third)", 2),
            (7, "for_each(fourth)", 1),
        ]
        assert {line["error"] for line in lines} == {f"Broken: no {item}" for item in (2, 5, 6, 7)}
        names = [each.name for each in report.stages]
        assert names.count("write_jsonl(letters.jsonl)") == 1
        assert report.stages[-1].items_in == 4

    @each_operator
    async def test_a_sink_that_fails_fails_the_run(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        async def refuse(letter: ps.DeadLetter[int]) -> None:
            raise OSError(f"no room for {letter.item}")

        letters = ps.dead_letter(ps.for_each(refuse))
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), Flaky(), letters)
        error, _ = await fail_to_report(stream.to(ps.collect()))
        assert error.stage == "for_each(refuse)"
        assert str(error.cause) == "no room for 2"

    @each_operator
    async def test_a_sink_that_is_slow_holds_the_operator_up(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        made: list[int] = []
        seen: list[int] = []

        @ps.producer
        def endless() -> Iterator[int]:
            for n in range(100_000):
                made.append(n)
                yield n

        def refuse(item: int) -> int:
            raise Broken

        async def slow(letter: ps.DeadLetter[int]) -> None:
            await trio.sleep(1)
            seen.append(letter.item)

        letters = ps.dead_letter(ps.for_each(slow))
        stream = OPERATORS[operator](endless(), refuse, letters)
        async with stream.to(ps.collect()).open() as run:
            await trio.sleep(3.5)
            testing.assert_balanced(run.stats())
            assert len(seen) == 3
            assert len(made) < 10_000
            await run.stop(0)
        testing.assert_balanced(run.report())

    async def test_a_sink_that_wants_no_more_does_not_end_the_run(
        self, autojump_clock: MockClock
    ) -> None:
        @ps.sink
        async def only_one(receive: ps.Receiver[ps.DeadLetter[int]]) -> None:
            seen.append(await anext(aiter(receive)))

        seen: list[ps.DeadLetter[int]] = []
        letters = ps.dead_letter(only_one())
        stream = ps.every(1, count=8).map(Flaky(), errors=letters)
        result, report = await run_to_report(stream.to(ps.collect()))
        assert result == GOOD
        assert [letter.item for letter in seen] == [2]
        assert (report.stages[-1].items_in, report.stages[-1].abandoned) == (2, 1)


class TestDeadLettersOfRunsThatEndEarly:
    @each_operator
    @pytest.mark.parametrize("buffered", [False, True])
    async def test_those_of_a_run_that_has_enough_are_in_the_sink(
        self, autojump_clock: MockClock, operator: str, buffered: bool
    ) -> None:
        letters: list[ps.DeadLetter[Any]] = []
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), Flaky(), letters_to(letters))
        stream = stream.buffer(1) if buffered else stream
        result, report = await run_to_report(stream.take(4).to(ps.collect()))
        assert result == [0, 1, 3, 4]
        assert 2 in [letter.item for letter in letters]
        assert stage(report, operator).dead_lettered == len(letters)

    async def test_so_are_those_that_wait_for_a_slow_sink(self, autojump_clock: MockClock) -> None:
        seen: list[int] = []

        async def slow(letter: ps.DeadLetter[int]) -> None:
            await trio.sleep(10)
            seen.append(letter.item)

        def only_even(n: int) -> int:
            return Flaky(dict.fromkeys(range(1, 5000, 2), 1))(n)

        letters = ps.dead_letter(ps.for_each(slow))
        stream = ps.from_iterable(range(5000)).map(only_even, errors=letters).buffer(2)
        result, report = await run_to_report(stream.take(1500).to(ps.count()))
        assert result == 1500
        assert seen == list(range(1, 2 * len(seen), 2))
        assert report.stages[1].dead_lettered == len(seen) >= 1500

    @pytest.mark.parametrize("enough", range(1, 40, 3))
    async def test_so_are_those_of_a_stage_that_was_held_up_then(
        self, autojump_clock: MockClock, enough: int
    ) -> None:
        letters: list[ps.DeadLetter[Any]] = []

        def only_even(n: int) -> int:
            return Flaky(dict.fromkeys(range(1, 200, 2), 1))(n)

        stream = ps.from_iterable(range(200)).map(only_even, errors=letters_to(letters)).buffer(1)
        _, report = await run_to_report(stream.map_async(a_second, 1).take(enough).to(ps.count()))
        assert report.stages[1].dead_lettered == len(letters)
        assert report.stages[-1].abandoned == 0

    async def test_so_are_those_of_a_run_that_was_stopped(self, autojump_clock: MockClock) -> None:
        letters: list[ps.DeadLetter[Any]] = []
        stream = ps.every(1).map_async(as_async(Flaky()), 2, errors=letters_to(letters))
        async with stream.to(ps.count()).open() as run:
            await trio.sleep(5.5)
            await run.stop()
        testing.assert_balanced(run.report())
        assert [letter.item for letter in letters] == [2, 5]

    async def test_a_file_of_a_run_that_fails_is_not_there(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        path = tmp_path / "letters"
        letters = ps.dead_letter(ps.write_jsonl(path))
        stream = ps.from_iterable(ITEMS).map(Flaky(), errors=letters).map(Flaky({7: 1}))
        error, report = await fail_to_report(stream.to(ps.collect()))
        assert error.item_repr == "7"
        assert files_in(tmp_path) == []
        assert report.stages[-1].items_in == report.stages[1].dead_lettered

    async def test_those_that_did_not_reach_the_sink_are_counted_as_abandoned_there(
        self, autojump_clock: MockClock
    ) -> None:
        seen: list[int] = []

        async def stuck(letter: ps.DeadLetter[int]) -> None:
            seen.append(letter.item)
            await trio.sleep_forever()

        def refuse(item: int) -> int:
            raise Broken

        letters = ps.dead_letter(ps.for_each(stuck))
        stream = ps.from_iterable(range(9000)).map(refuse, errors=letters)
        async with stream.to(ps.count()).open() as run:
            await trio.sleep(1)
            await run.stop(0)
        report = run.report()
        testing.assert_balanced(report)
        *_, sink = report.stages
        assert seen == [0]
        assert sink.items_in == sink.abandoned == report.stages[1].dead_lettered > 1000


class TestRetry:
    @each_operator
    async def test_it_calls_again_after_the_backoff_and_keeps_the_order(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        flaky = Flaky({2: 3, 5: 1})
        start = trio.current_time()
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), flaky, ps.retry(4, STEADY))
        result, report = await run_to_report(stream.to(ps.collect()))
        found = stage(report, operator)
        assert result == ITEMS
        assert flaky.calls == {item: {2: 4, 5: 2}.get(item, 1) for item in ITEMS}
        first = flaky.times[2][0]
        assert [at - first for at in flaky.times[2]] == [0, 1, 3, 7]
        assert (found.retried, found.errors, found.skipped, found.abandoned) == (4, 4, 0, 0)
        assert found.items_in == found.items_out == 8
        one_after_the_other = operator != "map_async, many"
        assert trio.current_time() - start == (8 if one_after_the_other else 7)

    @each_operator
    async def test_then_raise_fails_the_run_with_the_last_error(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        flaky = Flaky({5: 9})
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), flaky, ps.retry(3, STEADY))
        error, report = await fail_to_report(stream.to(ps.collect()))
        assert (error.stage, error.item_repr) == (stage(report, operator).name, "5")
        assert error.cause.__notes__ == ["this was attempt 3 of 3"]
        assert flaky.calls[5] == 3
        assert (stage(report, operator).retried, stage(report, operator).errors) == (2, 3)

    @each_operator
    async def test_then_skip_leaves_out_the_item(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        flaky = Flaky()
        errors = ps.retry(3, STEADY, then="skip")
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), flaky, errors)
        result, report = await run_to_report(stream.to(ps.collect()))
        found = stage(report, operator)
        assert result == GOOD
        assert flaky.calls[2] == flaky.calls[5] == 3
        assert (found.skipped, found.retried, found.errors) == (2, 4, 6)

    @each_operator
    async def test_then_dead_letter_sends_it_aside_with_the_number_of_attempts(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        letters: list[ps.DeadLetter[Any]] = []
        errors = ps.retry(3, STEADY, then=letters_to(letters))
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), Flaky(), errors)
        result, report = await run_to_report(stream.to(ps.collect()))
        found = stage(report, operator)
        assert result == GOOD
        letters.sort(key=lambda letter: letter.item)
        assert [(each.item, each.attempts) for each in letters] == [(2, 3), (5, 3)]
        assert str(letters[0]).endswith("failed on 2 after 3 attempts: Broken: no 2")
        assert (found.dead_lettered, found.retried, found.errors) == (2, 4, 6)

    @each_operator
    async def test_waits_with_jitter_stay_within_the_bounds(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        flaky = Flaky(dict.fromkeys(range(30), 4))
        backoff = ps.Backoff(1, 5, factor=3)
        stream = OPERATORS[operator](ps.from_iterable(range(30)), flaky, ps.retry(5, backoff))
        assert await stream.to(ps.count()).run() == 30
        bounds = [1, 3, 5, 5]
        waits = [
            [after - before for before, after in pairwise(times)] for times in flaky.times.values()
        ]
        assert all(
            0 <= wait <= bound for each in waits for wait, bound in zip(each, bounds, strict=True)
        )
        assert len({wait for each in waits for wait in each}) > 60, "they are drawn at random"

    async def test_what_is_done_goes_on_while_an_item_is_tried_again(
        self, autojump_clock: MockClock
    ) -> None:
        start = trio.current_time()
        came: list[tuple[int, float]] = []
        stream = ps.from_iterable(ITEMS).map(Flaky({2: 3, 5: 1}), errors=ps.retry(4, STEADY))
        await stream.to(ps.for_each(lambda n: came.append((n, trio.current_time() - start)))).run()
        assert came == [(0, 0), (1, 0), (2, 7), (3, 7), (4, 7), (5, 8), (6, 8), (7, 8)]

    async def test_concurrent_calls_go_on_meanwhile(self, autojump_clock: MockClock) -> None:
        flaky = Flaky({2: 3})
        start = trio.current_time()
        came: list[tuple[int, float]] = []
        stream = ps.from_iterable(ITEMS).map_async(
            as_async(flaky), 2, ordered=False, errors=ps.retry(4, STEADY)
        )
        await stream.to(ps.for_each(lambda n: came.append((n, trio.current_time() - start)))).run()
        assert sorted(came) == [(n, 7 if n == 2 else 0) for n in ITEMS]

    async def test_a_failed_attempt_does_not_advance_a_scan(
        self, autojump_clock: MockClock
    ) -> None:
        flaky = Flaky({2: 2, 5: 9})

        def add(total: int, n: int) -> int:
            return total + flaky(n)

        errors = ps.retry(3, STEADY, then="skip")
        stream = ps.from_iterable(ITEMS).scan(100, add, errors=errors)
        assert await stream.to(ps.collect()).run() == [100, 101, 103, 106, 110, 116, 123]

    async def test_a_failed_attempt_of_a_flat_map_gives_nothing(
        self, autojump_clock: MockClock
    ) -> None:
        flaky = Flaky({2: 1})

        def both(n: int) -> Iterator[int]:
            yield n
            yield -flaky(n)

        stream = ps.from_iterable([1, 2, 3]).flat_map(both, errors=ps.retry(2, STEADY))
        result, report = await run_to_report(stream.to(ps.collect()))
        assert result == [1, -1, 2, -2, 3, -3]
        assert stage(report, "flat_map").made == 3

    async def test_an_error_for_each_attempt_is_not_held_against_the_next_item(
        self, autojump_clock: MockClock
    ) -> None:
        flaky = Flaky({1: 1, 2: 1, 3: 1})
        stream = ps.from_iterable(ITEMS).map(flaky, errors=ps.retry(2, STEADY))
        assert await stream.to(ps.collect()).run() == ITEMS

    @each_operator
    async def test_cancelled_while_it_waits_the_item_is_abandoned(
        self, autojump_clock: MockClock, operator: str
    ) -> None:
        received: list[int] = []
        stream = OPERATORS[operator](ps.from_iterable(ITEMS), Flaky(), ps.retry(9, STEADY))
        pipeline = stream.to(ps.for_each(received.append))
        with trio.move_on_after(10):
            async with pipeline.open() as run:
                await run.result()
        report = run.report()
        testing.assert_balanced(report)
        assert report.outcome == "cancelled"
        assert received == [0, 1]
        source, *others = report.stages
        assert source.items_out == len(received) + sum(each.abandoned for each in others)


class TestFilterOfARetry:
    """An operator that takes items and gives fewer says what it has in its hands."""

    async def test_what_it_filtered_is_not_called_abandoned(
        self, autojump_clock: MockClock
    ) -> None:
        flaky = Flaky({90: 99})
        stream = ps.from_iterable(range(100)).filter(
            lambda n: flaky(n) % 2, errors=ps.retry(50, STEADY)
        )
        async with stream.to(ps.count()).open() as run:
            await trio.sleep(5)
            testing.assert_balanced(run.stats())
            found = stage(run.report(), "filter")
            assert (found.items_out, found.absorbed, found.held) == (45, 45, 10)
            await run.stop(0)
        testing.assert_balanced(run.report())
        found = stage(run.report(), "filter")
        assert (found.items_out, found.absorbed, found.abandoned) == (45, 45, 10)

    async def test_nor_does_what_a_flat_map_gave_hide_what_it_had_in_its_hands(
        self, autojump_clock: MockClock
    ) -> None:
        flaky = Flaky({90: 99})
        stream = ps.from_iterable(range(100)).flat_map(
            lambda n: [flaky(n)] * 3, errors=ps.retry(50, STEADY)
        )
        async with stream.to(ps.count()).open() as run:
            await trio.sleep(5)
            await run.stop(0)
        testing.assert_balanced(run.report())
        found = stage(run.report(), "flat_map")
        assert (found.items_out, found.made, found.abandoned) == (270, 180, 10)


class TestThreads:
    """`map_blocking`; by the real clock, since a mock clock would run on while a thread works."""

    def report_of(self, flaky: Flaky, errors: Errors) -> tuple[Any, ps.Report]:
        stream = ps.from_iterable(ITEMS).map_blocking(flaky.without_clock, 2, errors=errors)
        return trio.run(run_to_report, stream.to(ps.collect()))

    def test_raise(self) -> None:
        stream = ps.from_iterable(ITEMS).map_blocking(Flaky().without_clock, 2)
        error, _ = trio.run(fail_to_report, stream.to(ps.collect()))
        assert error.stage == "map_blocking(without_clock)"
        assert (error.item_repr, str(error.cause)) in (("2", "no 2"), ("5", "no 5"))

    def test_skip(self) -> None:
        result, report = self.report_of(Flaky(), "skip")
        assert result == GOOD
        assert stage(report, "map_blocking").skipped == 2

    def test_dead_letter(self) -> None:
        letters: list[ps.DeadLetter[Any]] = []
        result, report = self.report_of(Flaky(), letters_to(letters))
        assert result == GOOD
        assert sorted((each.item, each.attempts) for each in letters) == [(2, 1), (5, 1)]
        assert stage(report, "map_blocking").dead_lettered == 2

    @pytest.mark.parametrize("then", ["skip", "dead_letter", "success"])
    def test_retry(self, then: str) -> None:
        letters: list[ps.DeadLetter[Any]] = []
        last: Any = letters_to(letters) if then == "dead_letter" else "skip"
        flaky = Flaky(dict.fromkeys(BAD, 1 if then == "success" else 9))
        quick = ps.Backoff(0.001, 0.001)
        result, report = self.report_of(flaky, ps.retry(2, quick, then=last))
        found = stage(report, "map_blocking")
        assert result == (ITEMS if then == "success" else GOOD)
        assert flaky.calls[2] == flaky.calls[5] == 2
        assert found.retried == 2
        assert found.skipped == (2 if then == "skip" else 0)
        assert sorted(each.item for each in letters) == (list(BAD) if letters else [])
        assert bool(letters) == (then == "dead_letter")


# How runs end


class Source:
    """A source that counts what it made, and notes when it is closed."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds
        self.made = 0
        self.closed = False

    @property
    def stream(self) -> ps.Stream[int]:
        return ps.from_async(self._items)

    async def _items(self) -> AsyncIterator[int]:
        try:
            while True:
                await trio.sleep(self.seconds)
                self.made += 1
                yield self.made - 1
        finally:
            self.closed = True


async def a_second(item: int) -> int:
    await trio.sleep(1)
    return item


def abandoned(report: ps.Report) -> int:
    return sum(each.abandoned for each in report.stages)


class TestStop:
    async def test_what_was_taken_from_the_producers_comes_out(
        self, autojump_clock: MockClock
    ) -> None:
        source = Source()
        received: list[int] = []
        stream = source.stream.map(lambda n: n).buffer(3).map_async(a_second, 2)
        async with stream.to(ps.for_each(received.append)).open() as run:
            await trio.sleep(3.5)
            await run.stop()
            assert source.closed
        assert received == list(range(source.made))
        assert run.report().outcome == "stopped"
        assert abandoned(run.report()) == 0
        testing.assert_balanced(run.report())

    async def test_so_do_items_on_their_way_through_a_chunked_source(
        self, autojump_clock: MockClock
    ) -> None:
        made: list[int] = []

        @ps.producer(chunked=True)
        async def produce(send: ps.Sender[int]) -> None:
            while True:
                chunk = list(range(len(made), len(made) + 5000))
                made.extend(chunk)
                await send.chunk(chunk)

        received: list[list[int]] = []

        async def slow(items: list[int]) -> None:
            await trio.sleep(1)
            received.append(items)

        stream = produce().map(lambda n: n).batch(7)
        async with stream.to(ps.for_each(slow)).open() as run:
            await trio.sleep(2.5)
            await run.stop()
        assert [n for items in received for n in items] == made
        assert abandoned(run.report()) == 0
        testing.assert_balanced(run.report())

    async def test_past_the_deadline_the_rest_is_cancelled_and_counted(
        self, autojump_clock: MockClock
    ) -> None:
        source = Source()
        received: list[int] = []
        stream = source.stream.buffer(50).map_async(a_second, 2)
        async with stream.to(ps.for_each(received.append)).open() as run:
            await trio.sleep(3.5)
            start = trio.current_time()
            await run.stop(deadline=4)
            assert trio.current_time() - start == 4
        report = run.report()
        testing.assert_balanced(report)
        assert report.outcome == "stopped"
        assert received == list(range(len(received)))
        assert source.made == len(received) + abandoned(report)
        assert abandoned(report) > 40

    @pytest.mark.parametrize(("deadline", "comes"), [(20, True), (3, False)])
    async def test_while_a_retry_waits(
        self, autojump_clock: MockClock, deadline: float, comes: bool
    ) -> None:
        flaky = Flaky({2: 3})
        source = Source(seconds=0.25)
        received: list[int] = []
        stream = source.stream.map(flaky, errors=ps.retry(4, STEADY))
        start = trio.current_time()
        async with stream.to(ps.for_each(received.append)).open() as run:
            await trio.sleep(2)
            await run.stop(deadline)
        assert trio.current_time() - start == (0.75 + 7 if comes else 5)
        assert received == list(range(source.made if comes else 2))
        assert source.made == len(received) + abandoned(run.report())
        testing.assert_balanced(run.report())

    @pytest.mark.parametrize("deadline", [float("inf"), 0])
    async def test_while_a_thread_works(self, deadline: float) -> None:
        working, may_end = threading.Event(), threading.Event()
        called: list[int] = []

        def work(item: int) -> int:
            called.append(item)
            working.set()
            may_end.wait(60)
            return item

        source = testing.probe_source(int)
        received: list[int] = []
        async with trio.open_nursery() as nursery:
            stream = source[0].map_blocking(work, 1)
            async with stream.to(ps.for_each(received.append)).open() as run:
                await source[1].send(1)
                await trio.to_thread.run_sync(working.wait, 60)
                await source[1].send(2)
                nursery.start_soon(run.stop, deadline)
                await wait_all_tasks_blocked()
                assert run.stats().outcome == "running", "what runs in a thread is waited for"
                may_end.set()
        testing.assert_balanced(run.report())
        drained = deadline > 0
        assert called == ([1, 2] if drained else [1])
        assert received == ([1, 2] if drained else [])
        assert abandoned(run.report()) == (0 if drained else 2)

    async def test_of_a_source_that_pulls_in_a_thread(self) -> None:
        pulling, may_go_on = threading.Event(), threading.Event()
        made: list[int] = []

        def items() -> Iterator[int]:
            for n in range(10_000):
                if n == 5:
                    pulling.set()
                    may_go_on.wait(60)
                made.append(n)
                yield n

        received: list[int] = []
        stream = ps.from_iterable(items(), blocking=True).map(lambda n: n)
        async with (
            trio.open_nursery() as nursery,
            stream.to(ps.for_each(received.append)).open() as run,
        ):
            await trio.to_thread.run_sync(pulling.wait, 60)
            nursery.start_soon(run.stop)
            await wait_all_tasks_blocked()
            may_go_on.set()
        assert received == made
        assert len(made) < 10_000
        assert abandoned(run.report()) == 0
        testing.assert_balanced(run.report())

    async def test_twice_the_shorter_deadline_holds(self, autojump_clock: MockClock) -> None:
        source = Source()
        stream = source.stream.buffer(50).map_async(a_second, 2)
        start = trio.current_time()
        ended: list[float] = []

        async def stop(run: ps.Run[Any], deadline: float) -> None:
            await run.stop(deadline)
            ended.append(trio.current_time() - start)

        async with stream.to(ps.drain()).open() as run, trio.open_nursery() as nursery:
            await trio.sleep(3)
            nursery.start_soon(stop, run, 5)
            nursery.start_soon(stop, run, 2)
        await run.stop()
        assert ended == [5, 5]
        assert run.report().outcome == "stopped"
        testing.assert_balanced(run.report())

    async def test_of_a_run_with_several_sources(self, autojump_clock: MockClock) -> None:
        sources = [Source(seconds) for seconds in (0, 0.3, 5)]
        received: list[int] = []
        merged = ps.merge(
            sources[0].stream.map(lambda n: n),
            sources[1].stream.buffer(1).map_async(a_second, 2),
            sources[2].stream,
        )
        async with merged.map_async(a_second, 3).to(ps.for_each(received.append)).open() as run:
            await trio.sleep(7)
            await run.stop()
        assert all(source.closed for source in sources)
        assert sources[2].made == 1
        assert len(received) == sum(source.made for source in sources)
        assert abandoned(run.report()) == 0
        testing.assert_balanced(run.report())

    async def test_at_once_nothing_has_begun(self, autojump_clock: MockClock) -> None:
        source = Source()
        async with source.stream.to(ps.count()).open() as run:
            await run.stop()
            assert await run.result() == source.made
        testing.assert_balanced(run.report())

    async def test_cancelled_while_it_waits_the_producers_stay_stopped(
        self, autojump_clock: MockClock
    ) -> None:
        source = Source()
        received: list[int] = []
        stream = source.stream.buffer(10).map_async(a_second, 2)
        async with stream.to(ps.for_each(received.append)).open() as run:
            await trio.sleep(3)
            with trio.move_on_after(1):
                await run.stop()
            made = source.made
            await run.result()
        assert source.closed
        assert received == list(range(made)) == list(range(source.made))
        assert run.report().outcome == "stopped"

    async def test_of_a_run_whose_sink_never_ends_by_itself(
        self, autojump_clock: MockClock
    ) -> None:
        end, sink = testing.probe_sink(int)
        source = Source()
        async with source.stream.to(end).open() as run:
            await sink.take(3)
            await run.stop(5)
            with pytest.raises(ps.RunStopped):
                await run.result()
        report = run.report()
        testing.assert_balanced(report)
        assert sink.state == "cancelled"
        assert source.made == 3 + abandoned(report)


class TestInterrupt:
    """Ctrl-C, which Python raises in whatever code runs."""

    @pytest.mark.parametrize(
        "stage_of",
        [
            lambda s, f: s.map(f),
            lambda s, f: s.map(f, errors="skip"),
            lambda s, f: s.map(f, errors=ps.retry(3)),
            lambda s, f: s.map_async(as_async(f), 2, errors="skip"),
            lambda s, f: s.buffer(2).filter(f).batch(3),
        ],
        ids=["map", "map, skip", "map, retry", "map_async", "fused behind a buffer"],
    )
    async def test_it_ends_the_run_and_nothing_is_lost_uncounted(
        self, autojump_clock: MockClock, stage_of: Callable[[Any, Any], ps.Stream[Any]]
    ) -> None:
        source = Source()
        received: list[Any] = []

        def interrupt(item: int) -> int:
            if item == 5:
                raise KeyboardInterrupt
            return 1

        pipeline = stage_of(source.stream, interrupt).to(ps.for_each(received.append))
        with pytest.raises(KeyboardInterrupt):
            async with pipeline.open() as run:
                await run.result()
        report = run.report()
        testing.assert_balanced(report)
        assert source.closed
        assert report.outcome == "cancelled"
        assert abandoned(report) >= 1
        unaccounted = source.made - abandoned(report) - sum(e.absorbed for e in report.stages)
        assert unaccounted == 0

    async def test_a_file_is_not_left_half_written(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        def interrupt(item: int) -> int:
            if item == 5000:
                raise KeyboardInterrupt
            return item

        stream = ps.from_iterable(range(9000)).map(interrupt)
        with pytest.raises(KeyboardInterrupt):
            await stream.to(ps.write_jsonl(tmp_path / "out")).run()
        assert files_in(tmp_path) == []
