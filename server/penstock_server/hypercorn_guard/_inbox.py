"""What waits for an application to receive it."""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the functions it passes around without types.

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import (
    TaskGroup,
    _handle,  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType] # version is checked
)
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

DISCONNECTS = frozenset({"http.disconnect", "websocket.disconnect"})


class Inbox:
    """A bounded queue of ASGI events in which a disconnect always fits.

    Hypercorn's own queue, once full, holds up the disconnect too: the task that closes the
    connection then waits for an application that may be gone. Here a disconnect never waits, and
    it lets go of whoever does: what comes after it is dropped, since nobody will ask for it.
    """

    __slots__ = ("_capacity", "_disconnect", "_events", "_receivers", "_senders")

    def __init__(self, capacity: int) -> None:
        self._capacity = max(1, capacity)
        self._events: list[ASGIReceiveEvent] = []  # a deque would take ten times the memory
        self._disconnect: ASGIReceiveEvent | None = None
        self._receivers = trio.lowlevel.ParkingLot()
        self._senders: trio.lowlevel.ParkingLot | None = None  # few ever wait to put

    async def put(self, event: ASGIReceiveEvent) -> None:
        """Add an event, waiting for room; a disconnect is taken at once, and only the first counts.

        Cancelled, it leaves the event out.
        """
        if event["type"] in DISCONNECTS:
            if self._disconnect is None:
                self._disconnect = event
            self._receivers.unpark_all()
            if self._senders is not None:
                self._senders.unpark_all()
            return
        while len(self._events) >= self._capacity and self._disconnect is None:
            if self._senders is None:
                self._senders = trio.lowlevel.ParkingLot()
            await self._senders.park()
        if self._disconnect is None:
            self._events.append(event)
            self._receivers.unpark()

    async def receive(self) -> ASGIReceiveEvent:
        """The next event; after the last of a closed connection, its disconnect each time.

        Cancelled, it takes nothing.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._disconnect is not None:
                return self._disconnect
            await self._receivers.park()
        if self._senders is not None:
            self._senders.unpark()
        return self._events.pop(0)


class GuardedTaskGroup(TaskGroup):
    """Hypercorn's task group, whose applications receive from an :class:`Inbox`."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start the application in a task; the result puts events into its inbox."""
        inbox = Inbox(config.max_app_queue_size)
        thread_calls: tuple[Any, Any] = (trio.to_thread.run_sync, trio.from_thread.run)
        self.spawn(_handle, app, config, scope, inbox.receive, send, *thread_calls)
        return inbox.put
