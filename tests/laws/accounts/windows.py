"""Windows that keep an account, of late items, too."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import penstock as ps

from .account import Account, Fault, Item
from .stages import Stage

Kind: TypeAlias = Literal["tumbling", "session", "by_count"]

KINDS = {"tumbling": ps.tumbling(5), "session": ps.session(3), "by_count": ps.by_count(4)}


def windowing(
    fault: Fault, kind: Kind, lateness: float, silence: float | None, *, has_outlet: bool
) -> Stage:
    """Items in windows of a time of their own, out of order, which the fault makes fail.

    A window goes on as its first item. An item is late that has a time and came into no window.
    """
    account = Account(fault)
    added: set[Item] = set()
    aside: list[Item] = []

    def time(item: Item) -> float:
        account.call(item)
        return sum(item) + sum(item) * 7 % 11

    def add(items: list[Item], item: Item) -> list[Item]:
        account.ctrl_c.may_come(account)
        added.add(item)
        return [*items, item]

    def finish(items: list[Item]) -> Item:
        account.rejected += len(items) - 1
        return items[0]

    def too_late(item: Item) -> None:
        aside.append(item)

    def build(stream: ps.Stream[Any], letters: Any) -> ps.Stream[Any]:
        by_time = kind != "by_count"
        late = ps.for_each(too_late) if has_outlet and by_time else None
        return (
            stream.key_by(lambda item: item[-1] % 3)
            .window(
                KINDS[kind],
                time,
                lateness if by_time else 0,
                late,
                silence,
                errors=fault.errors(letters),
            )
            .aggregate(list[Item], add, lambda one, other: one + other, finish)
        )

    def check(stats: ps.StageStats) -> None:
        account.check(stats, drops_after=True)
        lost = stats.abandoned + stats.held
        assert stats.made == 0
        assert account.rejected - lost <= stats.absorbed <= account.rejected, "gathered"
        assert 0 in (stats.late, stats.dropped)
        late = stats.late + stats.dropped
        assert late <= len(account.done) - len(added) <= late + lost, "late"
        assert len(aside) <= stats.late
        assert added.isdisjoint(aside)

    return Stage(
        account, build, check, keeps_count=False, then=lambda window: window.value, aside=aside
    )
