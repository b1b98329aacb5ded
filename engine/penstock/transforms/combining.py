"""Operators with several inputs, by the chunk: one after the other, in turn, as tuples.

Each takes a list of all that an input has and works on lists. What it has in its hands at any time
is a chunk of each input at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

import trio
from trio.lowlevel import ParkingLot

from .._errors import ItemFailed
from .._spec import Chunk, CountingSender, Receiver

_AT_ONCE = 8192
"""Tuples made without giving the event loop its turn: well under a millisecond's work."""

_NOTHING: Final = object()


async def concat(receivers: tuple[Receiver[Any], ...], send: CountingSender[Any]) -> None:
    """All of the first input, then all of the second, ...

    What feeds an input starts when it is first asked for items: the operator is ``one_by_one``.
    """
    for receive in receivers:
        async for items in receive.chunks():
            await send.chunk(items)


async def interleave(receivers: tuple[Receiver[Any], ...], send: CountingSender[Any]) -> None:
    """One item of each input in turn; those that have ended are passed over."""
    hands = [_Hand(receive) for receive in receivers]
    live = list(hands)
    send.holds(lambda: sum(hand.left for hand in hands))
    turn = 0
    while live:
        rounds = 0 if turn else min(_AT_ONCE, *(hand.left for hand in live))
        if rounds:
            await send.chunk(list(chain.from_iterable(_take(live, rounds))))
            await _let_others_run(rounds)
        hand = live[turn]
        if hand.left or await hand.fill():
            await send.chunk(hand.take_one())
            turn = (turn + 1) % len(live)
        else:
            live.pop(turn)
            turn = turn % max(1, len(live))


class _Hand:
    """What the operator has of one input."""

    __slots__ = ("items", "left", "receive")

    def __init__(self, receive: Receiver[Any]) -> None:
        self.receive = receive
        self.items: Iterator[Any] = iter(())
        self.left = 0

    async def fill(self) -> bool:
        """Take what there is; whether there was anything before the end."""
        try:
            self.fill_with(await self.receive.chunk())
        except trio.EndOfChannel:
            return False
        return True

    def fill_with(self, items: Chunk) -> None:
        self.items = iter(items)
        self.left = len(items)

    def take_one(self) -> Chunk:
        self.left -= 1
        return [next(self.items)]


def _take(hands: list[_Hand], count: int) -> list[tuple[Any, ...]]:
    """So many tuples of an item of each hand; all have that many."""
    for hand in hands:
        hand.left -= count
    return list(islice(zip(*(hand.items for hand in hands), strict=False), count))


async def _let_others_run(count: int) -> None:
    if count >= _AT_ONCE:
        await trio.lowlevel.checkpoint()


async def zip_inputs(
    strict: bool, receivers: tuple[Receiver[Any], ...], send: CountingSender[Any]
) -> None:
    """Tuples of one item of each input; ends with the first input that ends.

    With ``strict``, it fails where that one had fewer items than another.
    """
    await _Zip(receivers, send, strict=strict).run()


class _Zip:
    """A task reads each input, as any may be the one that ends; the last to bring items gives."""

    def __init__(
        self, receivers: tuple[Receiver[Any], ...], send: CountingSender[Any], *, strict: bool
    ) -> None:
        self._hands = [_Hand(receive) for receive in receivers]
        self._room = [ParkingLot() for _ in receivers]
        self._send = send
        self._strict = strict
        self._ended: int | None = None
        self._refused = False

    async def run(self) -> None:
        self._send.holds(lambda: sum(hand.left for hand in self._hands))
        async with trio.open_nursery() as nursery:
            for number in range(len(self._hands)):
                nursery.start_soon(self._read, number, nursery.cancel_scope)

    async def _read(self, number: int, scope: trio.CancelScope) -> None:
        hand = self._hands[number]
        while await hand.fill():
            if self._ended is not None:
                self._refuse(number)
                return
            while hand.left:
                if all(each.left for each in self._hands):
                    await self._give()
                else:
                    await self._room[number].park()
        if not self._strict:
            scope.cancel("the shortest stream has ended")
            return
        self._ended = number
        for other, each in enumerate(self._hands):
            if each.left:
                self._refuse(other)

    async def _give(self) -> None:
        count = min(_AT_ONCE, *(hand.left for hand in self._hands))
        await self._send.chunk(_take(self._hands, count))
        for hand, room in zip(self._hands, self._room, strict=True):
            if not hand.left:
                room.unpark()
        await _let_others_run(count)

    def _refuse(self, number: int) -> None:
        """Fail because of an input that goes on after another has ended; once is enough."""
        if self._refused:
            return
        self._refused = True
        assert self._ended is not None, "called when one has ended"
        raise ItemFailed(next(self._hands[number].items)) from ValueError(  # it stays in the hand
            f"stream {number + 1} goes on after stream {self._ended + 1} has ended,"
            " and strict=True wants the same number of items from all"
        )


async def combine_latest(receivers: tuple[Receiver[Any], ...], send: CountingSender[Any]) -> None:
    """A tuple of the newest item of each input, at every item, once all have one.

    Ends with the last input, or with the first that ends without an item.
    """
    await _Latest(receivers, send).run()


class _Latest:
    """A task reads each input. They give one after the other: no tuple goes back in time."""

    def __init__(self, receivers: tuple[Receiver[Any], ...], send: CountingSender[Any]) -> None:
        self._receivers = receivers
        self._latest: list[Any] = [_NOTHING] * len(receivers)
        self._send = send
        self._turn = trio.Lock()
        self._waiting = 0

    async def run(self) -> None:
        self._send.holds(lambda: self._waiting)
        async with trio.open_nursery() as nursery:
            for number in range(len(self._receivers)):
                nursery.start_soon(self._read, number, nursery.cancel_scope)

    async def _read(self, number: int, scope: trio.CancelScope) -> None:
        async for items in self._receivers[number].chunks():
            self._waiting += len(items)
            async with self._turn:
                await self._give(number, items)
        if self._latest[number] is _NOTHING:
            scope.cancel("a stream has ended without an item")

    async def _give(self, number: int, items: Chunk) -> None:
        before, after = tuple(self._latest[:number]), tuple(self._latest[number + 1 :])
        self._latest[number] = items[-1]
        if any(item is _NOTHING for item in (*before, *after)):
            self._waiting -= len(items)
            return
        for start in range(0, len(items), _AT_ONCE):
            piece = items[start : start + _AT_ONCE]
            self._waiting -= len(piece)
            await self._send.chunk([(*before, item, *after) for item in piece])
            await _let_others_run(len(piece))
