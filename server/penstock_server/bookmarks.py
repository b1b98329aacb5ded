"""Where a derived topic's pipeline goes on after a restart: after the last event it took.

While a supervisor builds a topic's pipeline it holds out a `Bookmarks`, found through a context
variable. A stream over another topic's log keeps its position there. A pipeline function is called
anew at each start and makes its streams in the same order, so the n-th stream over a topic finds
the n-th bookmark.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from penstock.wire import Cursor


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


@dataclass(slots=True)
class Bookmarks:
    """The bookmarks of one supervised pipeline, across its restarts.

    Attributes:
        beginning: where each topic's log was when the server started: what a stream gets that asks
            for the latest, so that it misses nothing of what came before its own first step.
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


current_bookmarks: ContextVar[Bookmarks | None] = ContextVar("current_bookmarks", default=None)
"""The bookmarks of the supervised pipeline that is being built right now."""
