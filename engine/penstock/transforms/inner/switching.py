"""``switch_map``: the items of the newest inner stream only."""

from __future__ import annotations

from typing import Any

import trio

from ..._spec import CountingSender, Receiver
from .driving import InnerStreams, Outward


async def switch_map(
    streams: InnerStreams, receive: Receiver[Any], send: CountingSender[Any]
) -> None:
    """The items of the stream of the newest item; it ends the one before it.

    Of items that come together only the last gets a stream. Those without one, and those whose
    stream was cut short, count as dropped.
    """
    current: _Current | None = None
    waiting = 0
    send.holds(lambda: waiting + (current is not None and not current.over.is_set()))

    async def work(outward: Outward) -> None:
        nonlocal current, waiting
        async with trio.open_nursery() as nursery:
            async for items in receive.chunks():
                waiting = 1
                if len(items) > 1:
                    send.dropped(len(items) - 1)
                if current is not None:
                    await current.supersede()
                waiting = 0
                current = _Current(streams, items[-1], send)
                nursery.start_soon(current.run, outward)

    await Outward(send).run(work)


class _Current:
    """The one inner stream that runs."""

    def __init__(self, streams: InnerStreams, item: Any, send: CountingSender[Any]) -> None:
        self._streams = streams
        self._item = item
        self._send = send
        self._scope = trio.CancelScope()
        self._failed = False
        self.over = trio.Event()

    async def run(self, outward: Outward) -> None:
        with self._scope:
            await self._streams.run(self._item, outward, self._send, self._fail)
        if self._scope.cancelled_caught:
            self._send.dropped(1)
        self.over.set()

    async def supersede(self) -> None:
        """Cancel it and wait until its ``finally`` has run; its dead letter is let through."""
        if not self._failed:
            self._scope.cancel("a newer item has come")
        await self.over.wait()

    def _fail(self) -> None:
        self._failed = True
