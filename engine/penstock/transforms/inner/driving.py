"""An inner stream: what a function of the user's gives for one item, driven to its end.

It gets a task that does nothing else, for an async generator may hold nurseries and cancel scopes
across its ``yield``. A `Stream` is run by ``open_inner``, which the facade gives in: operators know
neither streams nor runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any, Protocol, TypeAlias

import trio

from ..._errors import SEVERAL, ItemFailed, StageError, ungroup
from ..._failing import Errors, Retry, settle
from ..._forwarding import forward_async_iterable
from ..._spec import Chunk, Receiver, Sender, Tally

OpenInner: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Receiver[Any]] | None]
"""Runs a `Stream`; gives None for anything else."""


@dataclass(frozen=True, slots=True)
class InnerStreams:
    """How the items of an operator become streams, and what is done when one fails."""

    f: Callable[[Any], Any]
    errors: Errors
    open_inner: OpenInner

    async def run(
        self, item: Any, send: Target, tally: Tally, for_good: Callable[[], object] = bool
    ) -> None:
        """Send all items of the stream of ``item``, as ``errors`` says where it fails.

        Calls ``for_good`` when it has failed and won't be tried again. Failures of its own stages
        are raised as they are.
        """
        left = self.errors.attempts if isinstance(self.errors, Retry) else 1

        async def drive(item: Any) -> None:
            nonlocal left
            left -= 1
            try:
                await self._drive(item, send)
            except Exception:
                if not left:
                    for_good()
                raise

        try:
            await drive(item)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            try:
                await settle(self.errors, item, error, drive, tally)
            except ItemFailed as failed:
                told = _as_it_is(failed)
                raise told from told.__cause__

    async def _drive(self, item: Any, send: Target) -> None:
        given: object = self.f(item)
        opened = self.open_inner(given)
        if opened is not None:
            async with opened as receive:
                async for chunk in receive.chunks():
                    await send.chunk(chunk)
        elif isinstance(given, AsyncIterable):
            await forward_async_iterable(given, send)  # pyright: ignore[reportUnknownArgumentType]
        else:
            if iscoroutine(given):
                given.close()  # else Python warns that it was never awaited
            raise TypeError(
                "the function must give a Stream or an async iterable,"
                f" but gave a {type(given).__name__}"
            )


def _as_it_is(failed: ItemFailed) -> BaseException:
    cause = failed.__cause__
    if cause is not None and all(isinstance(each, StageError) for each in ungroup(cause)):
        return cause
    return failed


class Target(Protocol):
    """Where the items of an inner stream go."""

    async def __call__(self, item: Any, /) -> None:
        """Send one item."""
        ...

    async def chunk(self, items: Chunk, /) -> None:
        """Send several; the list is given away."""
        ...


class Outward:
    """The operator's sender as the inner streams get it.

    What fails behind the operator is no failure of an inner stream: it must not be caught, or
    called again, as one. So it cancels them all, and is raised when they are through.
    """

    def __init__(self, send: Sender[Any]) -> None:
        self._send = send
        self._failure: Exception | None = None
        self._scope = trio.CancelScope()

    async def __call__(self, item: Any) -> None:
        """See `Sender.__call__`."""
        try:
            await self._send(item)
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            await self._give_up(error)

    async def chunk(self, items: Chunk) -> None:
        """See `Sender.chunk`."""
        try:
            await self._send.chunk(items)
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            await self._give_up(error)

    async def _give_up(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._scope.cancel("the stages behind have failed")
        await trio.sleep_forever()

    async def run(self, work: Callable[[Outward], Awaitable[None]]) -> None:
        """Do all work that sends here."""
        try:
            with self._scope:
                await work(self)
        except (Exception, BaseExceptionGroup) as error:
            if self._failure is None:
                raise
            failures = [self._failure, *ungroup(error)]
            raise BaseExceptionGroup(SEVERAL, failures) from None
        if self._failure is not None:
            raise self._failure from self._failure.__cause__
