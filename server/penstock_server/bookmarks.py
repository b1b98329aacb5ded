"""Where a derived topic's pipeline goes on after a restart: after the last event it took.

While a supervisor builds a topic's pipeline it holds out a `Bookmarks`, found through a context
variable. A stream over another topic's log keeps its position there. A pipeline function is called
anew at each start and makes its streams in the same order, so the n-th stream over a topic finds
the n-th bookmark.

An event counts as taken once the stages that are fused to the stream have had it, which for a
pipeline of element operators is when it is stored. Behind a task boundary (``map_async``,
``buffer``, ``slow="block"``, …) it is still in flight then: a stop lets it drain and loses nothing,
but when the pipeline fails, what is in flight is lost. Nothing tells which input an output was made
of, so a later position would mean to store events twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import trio

from penstock.wire import Cursor

from .log import Log


@dataclass(slots=True)
class Bookmark:
    """A position in one log.

    Attributes:
        epoch: of the log that `after` belongs to; None before the first read.
        after: the offset of the last event taken.
        singly_until: events up to this offset are handed on one by one: a chunk of them failed, and
            going through it singly loses only the event that is to blame.
    """

    epoch: str | None = None
    after: int = 0
    singly_until: int = 0
    _until: int | None = None
    _log: Log | None = None
    _wake: Callable[[], None] | None = None
    _read: trio.Event | None = None

    def open(self, log: Log, wake: Callable[[], None]) -> None:
        """A stream begins to read from here; `wake` makes it look whether it `is_done`."""
        self._log, self._wake = log, wake

    def closed(self) -> None:
        """The stream has ended."""
        self._log = self._wake = None
        if self._read is not None:
            self._read.set()

    @property
    def is_done(self) -> bool:
        """Whether everything has been taken that was there when `read_up` was called."""
        return self._until is not None and self.after >= self._until

    async def read_up(self) -> None:
        """Let the stream take what its log holds right now and then end; wait until it has.

        Returns at once where no stream reads. Cancelled, the stream still ends there.
        """
        if self._log is None or self._wake is None:
            return
        self._until = self._log.bounds().last
        self._read = trio.Event()
        self._wake()
        await self._read.wait()


@dataclass(slots=True)
class Bookmarks:
    """The bookmarks of one supervised pipeline, across its restarts.

    Attributes:
        beginning: where each topic's log was when the server started, or the instance of a
            template was made: what a stream gets that asks for the latest, so that it misses
            nothing of what came before its own first step. A topic that is not there is younger.
    """

    beginning: Mapping[str, Cursor] = field(default_factory=dict[str, Cursor])
    _marks: dict[tuple[str, int], Bookmark] = field(default_factory=dict[tuple[str, int], Bookmark])
    _made: dict[str, int] = field(default_factory=dict[str, int])

    @contextmanager
    def held_out(self) -> Generator[None]:
        """For the block that builds the pipeline, be `current_bookmarks`, from the first one on."""
        self._made.clear()
        token = current_bookmarks.set(self)
        try:
            yield
        finally:
            current_bookmarks.reset(token)

    def next_for(self, topic: str) -> Bookmark:
        """The bookmark of the stream over `topic` that is made right now."""
        number = self._made.get(topic, 0)
        self._made[topic] = number + 1
        return self._marks.setdefault((topic, number), Bookmark())

    @property
    def topics(self) -> Collection[str]:
        """The names of the topics that the pipeline, as it was built last, reads."""
        return self._made.keys()

    async def read_up(self) -> None:
        """Let every stream take what its log holds right now and then end; wait until they have."""
        async with trio.open_nursery() as nursery:
            for mark in self._marks.values():
                nursery.start_soon(mark.read_up)


current_bookmarks: ContextVar[Bookmarks | None] = ContextVar("current_bookmarks", default=None)
"""The bookmarks of the supervised pipeline that is being built right now."""
