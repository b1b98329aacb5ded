"""``probe_sink``: a sink that takes items when a test says so."""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import trio
from trio.lowlevel import ParkingLot

from .. import _options as options
from .._errors import PenstockError
from .._spec import Inlet, Receiver, Sink, Tally, TaskSink

T = TypeVar("T")

SinkState: TypeAlias = Literal["waiting", "open", "finished", "ended", "cancelled"]


@overload
def probe_sink(*, capacity: int = 1) -> tuple[Sink[Any, list[Any]], ProbeSink[Any]]: ...


@overload
def probe_sink(type: type[T], *, capacity: int = 1) -> tuple[Sink[T, list[T]], ProbeSink[T]]: ...


def probe_sink(
    type: object = None,  # noqa: A002
    *,
    capacity: int = 1,
) -> tuple[Sink[Any, list[Any]], ProbeSink[Any]]:
    """A sink for ``stream.to(…)``, and the `ProbeSink` that says when it takes items.

    The pipeline's result is the list of the items that were taken.

    Args:
        type: the type of the items, for type checkers only.
        capacity: the items that the channel in front of it holds. One chunk beside these is in
            its hands, so that it notices the end of the stream when the last item has been taken.

    It serves one run: for another, make another.
    """
    options.whole_number("probe_sink", "capacity", capacity, at_least=1)
    sink: ProbeSink[Any] = ProbeSink()
    op = TaskSink(sink._work, Inlet(capacity))  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this module
    return Sink("probe_sink", op), sink


class ProbeSink(Generic[T]):
    """Takes the items of the pipeline that ends in the sink it came with, from a test.

    Until items are asked for, none are taken: the stages in front of it are held up. A pipeline
    whose items are not all taken does not end by itself: `end` it, or stop the run.

    Attributes:
        seen: the items taken, in order.
    """

    def __init__(self) -> None:
        self.seen: list[T] = []
        self._hand: deque[T] = deque()
        self._state: SinkState = "waiting"
        self._changed = ParkingLot()
        self._scope = trio.CancelScope()
        self._closed = trio.Event()

    @property
    def state(self) -> str:
        """``waiting`` for a run, ``open``, or how it is over.

        ``finished``: the stream ended, and everything was taken. ``ended``: by `end`, before that.
        ``cancelled``: the run was cancelled, or failed.
        """
        return self._state

    async def take(self, count: int = 1) -> list[T]:
        """Take ``count`` items, waiting for them; fewer where the stream ends before.

        Raises ``trio.BrokenResourceError`` where the run is cancelled or fails before. Cancelled,
        what it had taken is in `seen`.
        """
        before = len(self.seen)
        while len(self.seen) < before + count and await self._have_some():
            self._take_from_hand(before + count - len(self.seen))
        return self.seen[before : before + count]

    async def take_chunk(self) -> list[T]:
        """Take one chunk, as it came; an empty list where the stream has ended.

        A chunk of which `take` has taken some is the rest of it. No chunk is larger than the
        ``capacity`` of the sink. Raises ``trio.BrokenResourceError`` as `take` does.
        """
        before = len(self.seen)
        if await self._have_some():
            self._take_from_hand(len(self._hand))
        return self.seen[before:]

    async def take_all(self) -> list[T]:
        """Take everything until the stream ends. Raises as `take` does."""
        before = len(self.seen)
        while await self._have_some():
            self._take_from_hand(len(self._hand))
        return self.seen[before:]

    def end(self) -> None:
        """Want no more: the pipeline ends early, without an error."""
        self._scope.cancel("the probe sink wants no more items")

    async def wait_closed(self) -> None:
        """Wait until the sink is over, in whatever way: see `state`."""
        await self._closed.wait()

    async def _have_some(self) -> bool:
        while not self._hand and not self._closed.is_set():
            await self._changed.park()
        if self._state == "cancelled":
            raise trio.BrokenResourceError("the run was cancelled, or failed")
        return not self._closed.is_set()

    def _take_from_hand(self, at_most: int) -> None:
        for _ in range(min(at_most, len(self._hand))):
            self.seen.append(self._hand.popleft())
        self._changed.unpark_all()

    async def _work(self, receive: Receiver[T], tally: Tally) -> list[T]:
        if self._state != "waiting":
            raise PenstockError("a probe sink serves one run: make one for each")
        self._state = "open"
        tally.holds(self._hand.__len__)
        over: SinkState = "cancelled"
        try:
            with self._scope:
                async for items in receive.chunks():
                    self._hand.extend(items)
                    self._changed.unpark_all()
                    while self._hand:
                        await self._changed.park()
            over = "ended" if self._scope.cancelled_caught else "finished"
        finally:
            self._state = over
            self._closed.set()
            self._changed.unpark_all()
        return self.seen
