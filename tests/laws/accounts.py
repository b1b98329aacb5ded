"""Stages of random pipelines that keep their own account of what they were given and did.

Items are tuples of ints, each of its own: ``(source, number)``, and one number more for each
``flat_map`` on the way. A stage fails on items that its `Fault` picks by their numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import trio

import penstock as ps
from penstock._failing import Errors

Item: TypeAlias = tuple[int, ...]
Choice: TypeAlias = Literal["raise", "skip", "letter"]


class Failed(Exception):
    """Raised on purpose."""


@dataclass(frozen=True)
class Fault:
    """Which items a stage fails on, how often each, and what is to be done then."""

    every: int = 0
    times: int = 1
    attempts: int = 1
    then: Choice = "raise"

    def picks(self, item: Item) -> bool:
        return self.every > 0 and sum(item) % self.every == self.every - 1

    def errors(self, letters: Any) -> Errors:
        last = letters if self.then == "letter" else self.then
        if self.attempts == 1:
            return cast("Errors", last)
        return ps.retry(self.attempts, ps.Backoff(0.5, 4), then=last)


@dataclass
class Account:
    """What a stage knows of itself; `check` compares it with what the run says of it.

    Attributes:
        calls, failures: of its function, by item.
        done: items that a call got through with.
        rejected: items that it did not give on, as it should.
        extra: items that it gave beyond one for each done.
    """

    fault: Fault = Fault()
    calls: Counter[Item] = field(default_factory=Counter[Item])
    failures: Counter[Item] = field(default_factory=Counter[Item])
    done: set[Item] = field(default_factory=set[Item])
    rejected: int = 0
    extra: int = 0

    def call(self, item: Item) -> Item:
        """The stage's function."""
        self.calls[item] += 1
        return self._finish(item)

    def _finish(self, item: Item) -> Item:
        if self.fault.picks(item) and self.calls[item] <= self.fault.times:
            self.failures[item] += 1
            raise Failed(item)
        self.done.add(item)
        return item

    async def call_later(self, item: Item) -> Item:
        """The same, at once, or after a while."""
        self.calls[item] += 1
        if sum(item) % 3:
            await trio.sleep(sum(item) % 7 / 4)
        self._finish(item)
        if sum(item) % 5 == 0:
            await trio.lowlevel.checkpoint()
        return item

    @property
    def given_up(self) -> int:
        """Items that failed at every attempt."""
        return sum(number >= self.fault.attempts for number in self.failures.values())

    def check(self, stats: ps.StageStats, *, in_threads: bool = False) -> None:
        """The calls that were made, the failures and what became of them."""
        lost = stats.abandoned + stats.held
        failures = self.failures.total()
        assert failures - lost <= stats.errors <= failures, "errors"
        again = self.calls.total() - len(self.calls)
        slack = lost if in_threads else 0
        assert stats.retried - slack <= again <= stats.retried, "retried"
        assert stats.skipped == 0 or self.fault.then == "skip"
        assert stats.dead_lettered == 0 or self.fault.then == "letter"
        if self.fault.then != "raise":
            left_out = stats.skipped + stats.dead_lettered
            assert left_out <= self.given_up <= left_out + slack, "left out"
        came_to_it = stats.items_in - stats.dropped
        assert came_to_it - lost <= len(self.calls) <= came_to_it, "calls"


Operator: TypeAlias = Callable[[ps.Stream[Any], Any], ps.Stream[Any]]


@dataclass
class Stage:
    """An operator, and how its account is checked.

    ``check`` compares it with what the run says. ``keeps_count``: one item comes out for each that
    goes in and is not left out; ``may_end``: it may end the run, or fail it.
    """

    account: Account
    build: Operator
    check: Callable[[ps.StageStats], None]
    keeps_count: bool = True
    may_end: bool = False
    in_threads: bool = False


def one_to_one(fault: Fault, kind: str) -> Stage:
    account = Account(fault)
    ways: dict[str, Operator] = {
        "map": lambda s, to: s.map(account.call, errors=fault.errors(to)),
        "tap": lambda s, to: s.tap(account.call, errors=fault.errors(to)),
        "scan": lambda s, to: s.scan((), lambda _, n: account.call(n), errors=fault.errors(to)),
        "map_async": lambda s, to: s.map_async(account.call_later, 3, errors=fault.errors(to)),
        "unordered": lambda s, to: s.map_async(
            account.call_later, 3, ordered=False, errors=fault.errors(to)
        ),
        "keyed": lambda s, to: s.map_async(
            account.call_later, 2, key=lambda item: item[-1] % 3, errors=fault.errors(to)
        ),
        "blocking": lambda s, to: s.map_blocking(account.call, 2, errors=fault.errors(to)),
    }

    def check(stats: ps.StageStats) -> None:
        account.check(stats, in_threads=kind == "blocking")
        assert (stats.made, stats.absorbed) == (0, 0)
        lost = stats.abandoned + stats.held
        assert len(account.done) - lost <= stats.items_out <= len(account.done), "given on"

    return Stage(account, ways[kind], check, in_threads=kind == "blocking")


def filtering(fault: Fault) -> Stage:
    account = Account(fault)

    def keep(item: Item) -> bool:
        account.call(item)
        rejects = sum(item) % 2 == 0
        account.rejected += rejects
        return not rejects

    def check(stats: ps.StageStats) -> None:
        account.check(stats)
        assert stats.made == 0
        failed = fault.then == "raise" and account.given_up > 0  # then its chunk is abandoned
        if failed and fault.attempts == 1:
            assert stats.absorbed <= account.rejected
        else:
            assert stats.absorbed == account.rejected, "filtered"

    return Stage(account, lambda s, to: s.filter(keep, errors=fault.errors(to)), check)


def multiplying(fault: Fault) -> Stage:
    account = Account(fault)

    def copies(item: Item) -> list[Item]:
        account.call(item)
        number = sum(item) % 4
        account.extra += max(0, number - 1)
        account.rejected += number == 0
        return [(*item, copy) for copy in range(number)]

    def check(stats: ps.StageStats) -> None:
        account.check(stats)
        if account.given_up == 0 or fault.then != "raise":
            net = stats.made - stats.absorbed
            unsent = 2 * (stats.abandoned + stats.held)  # each item would have given up to three
            assert abs(net - (account.extra - account.rejected)) <= unsent, "made"

    return Stage(
        account,
        lambda s, to: s.flat_map(copies, errors=fault.errors(to)),
        check,
        keeps_count=False,
    )


def waiting(size: int, overflow: Any) -> Stage:
    account = Account()
    key = (lambda item: item[-1] % 4) if overflow == "conflate" and size > 1 else None

    def check(stats: ps.StageStats) -> None:
        assert (stats.made, stats.absorbed, stats.skipped, stats.dead_lettered) == (0, 0, 0, 0)
        assert stats.dropped == 0 or overflow in ("drop_oldest", "drop_newest", "conflate")

    return Stage(
        account,
        lambda s, _: s.buffer(size, overflow, key=key),
        check,
        may_end=overflow == "fail",
    )


def transforming(kind: str) -> Stage:
    account = Account()

    @ps.transform
    async def forward(receive: ps.Receiver[Item], send: ps.Sender[Item]) -> None:
        async for item in receive:
            await send(await account.call_later(item))

    @ps.transform
    async def every_second(receive: ps.Receiver[Item], send: ps.Sender[Item]) -> None:
        async for items in receive.chunks():
            kept = [item for item in items if sum(account.call(item)) % 2]
            account.rejected += len(items) - len(kept)
            if kept:
                await send.chunk(kept)

    def check(stats: ps.StageStats) -> None:
        assert stats.made == 0
        assert account.rejected - stats.abandoned - stats.held <= stats.absorbed
        assert stats.absorbed <= account.rejected, "filtered"

    return Stage(account, lambda s, _: s.via(forward if kind == "forward" else every_second), check)


def taking(number: int) -> Stage:
    def check(stats: ps.StageStats) -> None:
        assert stats.made == 0
        assert stats.items_out <= number

    return Stage(Account(), lambda s, _: s.take(number), check, may_end=True)


@dataclass
class Source:
    """A source that counts what it made, up to its end, its failure, or the end of the run."""

    number: int
    kind: str
    length: int
    fails_at: int | None
    pauses: bool
    made: int = 0

    def stream(self) -> ps.Stream[Item]:
        if self.kind == "pulled":
            return ps.from_iterable(self._items())
        if self.kind == "blocking":
            return ps.from_iterable(self._items(), blocking=True)
        if self.kind == "chunks":
            return ps.producer(chunked=True)(self._send_chunks)()
        return ps.from_async(self._items_later)

    def _item(self) -> Item:
        self._fail_in_time(self.made)
        self.made += 1
        return (self.number, self.made)

    def _fail_in_time(self, made: int) -> None:
        if self.fails_at is not None and made >= self.fails_at:
            raise Failed("the source")

    def _items(self) -> Iterator[Item]:
        for _ in range(self.length):
            yield self._item()

    async def _items_later(self) -> AsyncIterator[Item]:
        for n in range(self.length):
            if self.pauses and n % 3 == 0:
                await trio.sleep(0.3)
            yield self._item()

    async def _send_chunks(self, send: ps.Sender[Item]) -> None:
        while self.made < self.length:
            if self.pauses:
                await trio.sleep(0.5)
            size = min(1 + 7 * self.made % 40, self.length - self.made)
            self._fail_in_time(self.made + size - 1)
            chunk: list[Item] = [(self.number, self.made + n + 1) for n in range(size)]
            self.made += size
            await send.chunk(chunk)

    def check(self, stats: ps.StageStats, *, is_running: bool) -> None:
        assert (stats.items_in, stats.made) == (0, stats.items_out)
        if self.kind == "blocking" and is_running:  # a thread has some, of which nobody knows yet
            assert stats.items_out <= self.made
        else:
            assert stats.items_out == self.made, "made"


@dataclass
class End:
    """A sink that knows what it received."""

    kind: str
    fault: Fault
    account: Account = field(default_factory=Account)

    def __post_init__(self) -> None:
        self.account.fault = self.fault

    def sink(self, letters: Any) -> ps.Sink[Any, Any]:
        errors = self.fault.errors(letters)
        if self.kind == "fold":
            return ps.fold(0, lambda total, item: total + bool(self.account.call(item)))
        if self.kind == "enough":
            return self._enough()
        f = self.account.call if self.kind == "each" else self.account.call_later
        return ps.for_each(f, 3 if self.kind == "at once" else 1, errors=errors)

    def _enough(self) -> ps.Sink[Any, None]:
        @ps.sink
        async def enough(receive: ps.Receiver[Item]) -> None:
            async for item in receive:
                self.account.call(item)
                if len(self.account.done) == 10:
                    return

        return enough()

    def check(self, stats: ps.StageStats) -> None:
        if self.kind in ("each", "one by one", "at once"):
            self.account.check(stats)
        lost = stats.abandoned + stats.held
        done = len(self.account.done)
        assert (stats.items_out, stats.made) == (0, 0)
        assert done - lost <= stats.absorbed <= done, "received"
