"""The bounded channel between two tasks. It carries chunks and counts items.

A hop between tasks costs the same whatever it carries, so lists travel, never single items. The
rules:

- at most ``capacity`` items are held; ``send`` splits a chunk and waits where it doesn't fit;
- ``receive`` takes everything there is, so an idle channel passes each item on at once and a busy
  one passes big chunks, without a timer;
- a sent list is given away, a received list is the receiver's own;
- any number of senders, one receiver; each sender's items keep their order; a waiting sender is
  served before one that comes later;
- the receiver itself moves what waiting senders hold into the room that it makes, so a busy
  receiver finds items there the next time, without waiting for a sender's turn;
- the last sender's ``close`` ends the stream once it is drained; the receiver's ``close`` breaks
  the senders, and the items left are counted in ``abandoned``;
- items that a sender could not pass on, cancelled or broken, are counted in ``turned_away``.

Neither side checkpoints when it needn't wait, except that a sender which never has to wait (a
dropping buffer) yields every ``capacity`` items, so that it can't hold the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from functools import partial
from operator import length_hint
from time import perf_counter
from typing import Any

import trio
from outcome import Error, Outcome, Value
from trio.lowlevel import ParkingLot

from ._overflow import make_buffer
from ._spec import Chunk, Inlet, Overflow


class Channel:
    """One channel. Made and closed by the runtime; operators see `Receiver` and `Sender`."""

    __slots__ = (
        "_buffer",
        "_failure",
        "_inlet",
        "_line",
        "_open_senders",
        "_receiver",
        "_receiver_closed",
        "_sources",
        "_unyielded",
        "_waits_for_room",
        "abandoned",
        "passed",
        "peak",
        "receive_waits",
        "send_waits",
        "turned_away",
    )

    def __init__(self, inlet: Inlet, senders: int = 1) -> None:
        self._inlet = inlet
        self._buffer = make_buffer(inlet)
        self._waits_for_room = inlet.overflow == "block"
        self._open_senders = senders
        self._receiver_closed = False
        self._line: deque[_WaitingSender] = deque()
        self._receiver: trio.lowlevel.Task | None = None
        self._sources = ParkingLot()
        self._unyielded = 0
        self._failure: Exception | None = None
        self.abandoned = 0
        self.passed = 0
        self.peak = 0
        self.turned_away = 0
        self.send_waits = Waits()
        self.receive_waits = Waits()

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def capacity(self) -> int:
        """The most items it may hold."""
        return self._inlet.capacity

    @property
    def overflow(self) -> Overflow:
        """What happens when it is full."""
        return self._inlet.overflow

    @property
    def dropped(self) -> int:
        """Items thrown away by the overflow policy."""
        return self._buffer.dropped

    @property
    def waiting(self) -> tuple[int, int]:
        """How many senders and receivers are waiting right now."""
        return len(self._line), int(self._receiver is not None)

    @property
    def in_line(self) -> int:
        """Items that waiting senders hold."""
        return sum(len(waiting.items) for waiting in self._line)

    @property
    def is_idle(self) -> bool:
        """Whether the receiver waits, having dealt with all that was ever sent."""
        return self._receiver is not None and not self._buffer and not self._receiver_closed

    async def until_idle(self) -> None:
        """Wait until it `is_idle`, or the receiver is closed.

        At once where somebody asked for a buffer, or others send, too, and could be ahead for ever.
        """
        if self._inlet != Inlet() or self._open_senders > 1:
            return
        started = self.send_waits.begin()
        try:
            while not (self.is_idle or self._receiver_closed):
                await self._sources.park()
        finally:
            self.send_waits.end(started)

    def note_passed(self, count: int) -> None:
        """Count items that were dealt with in the receiver's place, while it `is_idle`."""
        self.passed += count
        if count > self.peak:
            self.peak = count

    def fail(self, failure: Exception) -> None:
        """Let the receiver, which `is_idle`, raise what was raised in its place."""
        self._failure = failure
        self._wake_receiver()

    async def send(self, items: Chunk, unsent: Chunk | None = None) -> bool:
        """Pass a list on, waiting for room as the policy says; the list is given away.

        Gives whether the other tasks had their turn meanwhile.
        Raises ``trio.BrokenResourceError`` once the receiver is closed and `BufferOverflow` where
        the policy is ``"fail"``. Cancelled while it waits, a prefix of the items has been sent;
        the others are counted as turned away, or put into ``unsent``, and the sender has them.
        """
        rest = items if self._line else self._put(items)
        if not rest:
            if self._waits_for_room or self._unyielded < self._inlet.capacity:
                return False
            self._unyielded = 0
            await trio.lowlevel.checkpoint()
            return True
        self._unyielded = 0
        waiting = _WaitingSender(trio.lowlevel.current_task(), rest)
        self._line.append(waiting)
        started = self.send_waits.begin()
        try:
            # The receiver takes the items, and wakes this task when all have gone in.
            await trio.lowlevel.wait_task_rescheduled(partial(self._leave_line, waiting, unsent))
        finally:
            self.send_waits.end(started)
        return True

    def _leave_line(
        self, waiting: _WaitingSender, unsent: Chunk | None, _: object
    ) -> trio.lowlevel.Abort:
        self._line.remove(waiting)
        if unsent is None:
            self.turned_away += len(waiting.items)
        else:
            unsent.extend(waiting.items)
        self._serve_line()
        return trio.lowlevel.Abort.SUCCEEDED

    def _put(self, items: Chunk) -> Chunk:
        given = len(items)
        if self._receiver_closed:
            self.turned_away += given
            raise trio.BrokenResourceError("the stages behind want no more items")
        buffer = self._buffer
        if self._waits_for_room:
            rest = buffer.put(items)
            if rest is items:
                return rest
        else:
            rest = self._put_by_policy(items)
        taken = given - len(rest)
        held = len(buffer)
        self.passed += taken
        self._unyielded += taken
        if held > self.peak:
            self.peak = held
        self._wake_receiver()
        return rest

    def _put_by_policy(self, items: Chunk) -> Chunk:
        """The policy, or a key's own ``==``, may raise in the midst."""
        buffer = self._buffer
        before = len(buffer) + buffer.dropped
        try:
            return buffer.put(items)
        except Exception:
            taken = len(buffer) + buffer.dropped - before
            self.passed += taken
            self.turned_away += len(items) - taken
            raise

    def _serve_line(self) -> None:
        """Move what waiting senders hold into the buffer, as far as there is room."""
        while self._line:
            waiting = self._line[0]
            result: Outcome[None] = Value(None)
            try:
                waiting.items = self._put(waiting.items)
            except Exception as error:  # noqa: BLE001 - closed, or the buffer's policy: theirs
                result = Error(error)
            else:
                if waiting.items:
                    return
            self._line.popleft()
            trio.lowlevel.reschedule(waiting.task, result)

    async def receive(self) -> Chunk:
        """Wait for at least one item and take all there are.

        Raises ``trio.EndOfChannel`` once every sender has closed and nothing is left. Cancelled
        while it waits, it has taken nothing.
        """
        if not self._buffer:
            await self._wait_for_items()
        items = self._buffer.take()
        if self._line:
            self._serve_line()
        return items

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is in it, and nobody sends any more."""
        return not self._buffer and not self._open_senders

    async def _wait_for_items(self) -> None:
        started = self.receive_waits.begin()
        try:
            while not self._buffer:
                if self._failure is not None:
                    raise self._failure
                if self._receiver_closed:
                    await trio.lowlevel.checkpoint()  # where it closed by a failure: be cancelled
                    raise trio.ClosedResourceError("the run that fed this receiver is over")
                if not self._open_senders:
                    raise trio.EndOfChannel
                if self._sources:
                    self._sources.unpark_all()
                self._receiver = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        finally:
            self.receive_waits.end(started)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake_receiver(self) -> None:
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None

    def close_sender(self) -> None:
        """One sender is done; call once a sender.

        A sender that failed or was cancelled must not call it: what it sent isn't the whole
        stream, and the receiver, which would take it for that, is about to be cancelled, too.
        """
        self._open_senders -= 1
        if not self._open_senders:
            self._wake_receiver()

    def close_receiver(self) -> None:
        """The receiver is done: what is left is abandoned and counted, senders are broken."""
        if not self._receiver_closed:
            self._receiver_closed = True
            self.abandoned += len(self._buffer.take())
            self._wake_receiver()
            self._sources.unpark_all()
            self._serve_line()


class _WaitingSender:
    """A sender's task that waits for room, and what it could not pass on yet."""

    __slots__ = ("items", "task")

    def __init__(self, task: trio.lowlevel.Task, items: Chunk) -> None:
        self.task = task
        self.items = items


class Waits:
    """Seconds spent waiting so far, by all that waited and that still wait."""

    __slots__ = ("_begun", "_over", "_waiting")

    def __init__(self) -> None:
        self._over = 0.0
        self._waiting = 0
        self._begun = 0.0

    @property
    def seconds(self) -> float:
        """The sum until now."""
        return self._over + self._waiting * perf_counter() - self._begun

    def begin(self) -> float:
        """Start a wait; give what `end` wants back."""
        now = perf_counter()
        self._waiting += 1
        self._begun += now
        return now

    def end(self, begun: float) -> None:
        """End a wait."""
        self._waiting -= 1
        self._begun -= begun
        self._over += perf_counter() - begun


class ChannelReceiver:
    """A channel as the `Receiver` that operators read from.

    Leaving an ``async for`` early keeps the items that were not looked at for the next read.
    """

    __slots__ = ("_asked", "_channel", "_items", "_latest")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._items: Iterator[Any] = iter(())
        self._latest = 0
        self._asked: trio.Event | None = None

    @property
    def held(self) -> int:
        """Items taken from the channel and not yet handed out."""
        return length_hint(self._items)

    @property
    def lent(self) -> int:
        """Items handed out since it was last waited on: one, or a chunk."""
        return self._latest

    def asked_event(self) -> trio.Event:
        """Set when it is first read from."""
        if self._asked is None:
            self._asked = trio.Event()
        return self._asked

    def close(self) -> None:
        """Abandon what is left, here and in the channel."""
        self._channel.abandoned += self.held
        self._items = iter(())
        self._channel.close_receiver()

    @property
    def is_at_end(self) -> bool:
        """Whether the stream has ended and all of its items have been handed out."""
        return not self.held and self._channel.is_at_end

    async def chunk(self) -> Chunk:
        """See `Receiver.chunk`."""
        items = list(self._items) or await self._receive()
        self._latest = len(items)
        return items

    async def _receive(self) -> Chunk:
        self._latest = 0
        if self._asked is not None:
            self._asked.set()
        return await self._channel.receive()

    def chunks(self) -> AsyncIterator[Chunk]:
        """See `Receiver.chunks`."""
        return _Chunks(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        for item in self._items:
            return item
        try:
            self._items = iter(await self._receive())
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        self._latest = 1
        return next(self._items)


class _Chunks:
    def __init__(self, receiver: ChannelReceiver) -> None:
        self._receiver = receiver

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        try:
            return await self._receiver.chunk()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
