"""Operators that keep an account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import penstock as ps

from .account import Account, Fault, Item

Operator: TypeAlias = Callable[[ps.Stream[Any], Any], ps.Stream[Any]]


@dataclass
class Stage:
    """An operator, and how its account is checked.

    ``check`` compares it with what the run says. ``keeps_count``: one item comes out for each that
    goes in and is not left out; ``may_end``: it may end the run, or fail it; ``then``: makes items
    of what it gives. What is sent to a sink beside it is in ``aside``.
    """

    account: Account
    build: Operator
    check: Callable[[ps.StageStats], None]
    keeps_count: bool = True
    may_end: bool = False
    in_threads: bool = False
    then: Callable[[Any], Item] | None = None
    aside: list[Item] = field(default_factory=list[Item])


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
        if account.broke_off:  # then its chunk is abandoned
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
