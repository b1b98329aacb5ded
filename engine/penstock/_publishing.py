"""What the sinks of a run have made, to be seen only when all of it has ended well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ._spec import Unpublished

Failure: TypeAlias = Callable[[BaseException], BaseException]
"""The error that the user sees, which names the stage, for one of publishing."""


class Publications:
    """What waits for the end of a run: all of it is published then, in order, or discarded.

    Only one of each name waits: where inner runs write the same file one after the other, the last
    one's is what there would be in the end. None of the calls raises, and none must be cancelled.

    Attributes:
        errors: what went wrong, as the user is to see it.
    """

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self._waiting: dict[str, tuple[Unpublished, Failure]] = {}

    async def add(self, unpublished: Unpublished, failure: Failure) -> None:
        """Let it wait; an older one of that name is discarded."""
        older = self._waiting.pop(unpublished.name, None)
        self._waiting[unpublished.name] = (unpublished, failure)
        if older is not None:
            await self._call(older[0].discard, older[1])

    async def move_to(self, others: Publications) -> None:
        """Let all wait there instead."""
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            await others.add(*each)

    async def publish(self) -> None:
        """Publish one after the other; from the first that fails on, they go on waiting."""
        while self._waiting and not self.errors:
            unpublished, failure = self._waiting.pop(next(iter(self._waiting)))
            await self._call(unpublished.publish, failure)

    async def discard(self) -> None:
        """Discard all that wait."""
        waiting, self._waiting = self._waiting, {}
        for unpublished, failure in waiting.values():
            await self._call(unpublished.discard, failure)

    async def _call(self, call: Callable[[], Awaitable[object]], failure: Failure) -> None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001 - kept
            self.errors.append(failure(error))
