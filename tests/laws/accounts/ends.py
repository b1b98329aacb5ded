"""Sources and sinks that keep an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import trio

import penstock as ps

from ..endings import Failed
from .account import Account, CtrlC, Fault, Item


@dataclass
class Source:
    """A source that counts what it made, up to its end, its failure, or the end of the run."""

    number: int
    kind: str
    length: int
    fails_at: int | None
    pauses: bool
    made: int = 0
    ctrl_c: CtrlC = field(default_factory=CtrlC)

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
        self.ctrl_c.may_come(self)
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
            self.ctrl_c.may_come(self)
            chunk: list[Item] = [(self.number, self.made + n + 1) for n in range(size)]
            self.made += size
            await send.chunk(chunk)

    def check(self, stats: ps.StageStats, *, is_running: bool) -> None:
        assert (stats.items_in, stats.made) == (0, stats.items_out)
        in_thread = self.kind == "blocking" and is_running
        if in_thread or self.ctrl_c.hit is self:  # the first of a chunk, of which nobody knows yet
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
