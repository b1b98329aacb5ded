"""``probe_source``: a producer whose items come when a test says so."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import trio

from .._errors import PenstockError
from .._spec import Node, PushSource, Sender, caller
from ..stream import Stream

T = TypeVar("T")

SourceState: TypeAlias = Literal["waiting", "open", "ended", "failed", "cancelled"]


@overload
def probe_source() -> tuple[Stream[Any], ProbeSource[Any]]: ...


@overload
def probe_source(type: type[T]) -> tuple[Stream[T], ProbeSource[T]]: ...


def probe_source(type: object = None) -> tuple[Stream[Any], ProbeSource[Any]]:  # noqa: A002
    """A stream, and the `ProbeSource` that says what comes out of it and when.

    Args:
        type: the type of the items, for type checkers only.

    It serves one run: for another, make another.
    """
    source: ProbeSource[Any] = ProbeSource()
    op = PushSource(source._work, by_item=False)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this module
    return Stream(Node("probe_source", op, where=caller())), source


class ProbeSource(Generic[T]):
    """Drives the stream that it came with, from a test.

    Its methods wait for the run to start. Once the run has let go of the source, they raise
    ``trio.BrokenResourceError``; so they do where that happens while they wait, and then a part of
    what was to be sent may have gone on.

    Attributes:
        taken: items whose `send` or `send_chunk` is over: they are in the stages behind, or in the
            channel in front of those, which holds 1,024 items if there is no `buffer` to say
            otherwise.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._give, self._orders = trio.open_memory_channel[_Order](0)
        self._under_way: _Order | None = None
        self._state: SourceState = "waiting"
        self._closed = trio.Event()

    @property
    def state(self) -> str:
        """``waiting`` for a run, ``open``, or how it is over.

        ``ended`` and ``failed``: it was told to. ``cancelled``: the run let go of it, because it
        was stopped or cancelled, because another stage failed, or because the stages behind want
        no more.
        """
        return self._state

    @property
    def is_blocked(self) -> bool:
        """Whether something was given that the stages behind had no room for yet (backpressure).

        To be looked at when everything has come to rest: ``await wait_all_tasks_blocked()``.
        """
        return self._under_way is not None

    async def send(self, item: T) -> None:
        """Send an item; waits while the stages behind have no room for it."""
        await self.send_chunk([item])

    async def send_chunk(self, items: list[T]) -> None:
        """Send several items at once; waits until the last has gone on.

        A task operator behind it receives them as one chunk, if its channel has room for them and
        it has dealt with all that came before; element operators see pieces of them.
        """
        await self._order(_Order(list(items)))

    async def end(self) -> None:
        """End the stream, and wait until the source is over; the stages behind drain."""
        await self._order(_Order(what="end"))
        await self._closed.wait()

    async def fail(self, error: Exception) -> None:
        """Fail with ``error``, which fails the run; waits until the source is over."""
        await self._order(_Order(what="fail", error=error))
        await self._closed.wait()

    async def wait_closed(self) -> None:
        """Wait until the run has let go of the source, in whatever way: see `state`."""
        await self._closed.wait()

    async def _order(self, order: _Order) -> None:
        try:
            await self._give.send(order)
            await order.done.wait()
        except trio.BrokenResourceError:
            order.broken = True
        if order.broken:
            raise trio.BrokenResourceError(f"the source is over: {self._state}")

    async def _work(self, send: Sender[T]) -> None:
        if self._state != "waiting":
            raise PenstockError("a probe source serves one run: make one for each")
        self._state = "open"
        try:
            await self._obey(send)
        except BaseException:
            if self._state == "open":
                self._state = "cancelled"
            raise
        finally:
            self._orders.close()
            if self._under_way is not None:
                self._under_way.broken = True
                self._under_way.done.set()
                self._under_way = None
            self._closed.set()

    async def _obey(self, send: Sender[T]) -> None:
        async for order in self._orders:
            if order.what == "send":
                self._under_way = order
                await send.chunk(list(order.items))
                self._under_way = None
                self.taken += len(order.items)
            order.done.set()
            if order.what == "end":
                self._state = "ended"
                return
            if order.error is not None:
                self._state = "failed"
                raise order.error


class _Order:
    """One thing that the test told the source to do, and whether it is done."""

    def __init__(
        self,
        items: list[Any] | None = None,
        what: Literal["send", "end", "fail"] = "send",
        error: Exception | None = None,
    ) -> None:
        self.items = items or []
        self.what = what
        self.error = error
        self.done = trio.Event()
        self.broken = False
