"""A topic's log as a stream: how pipelines, and topics derived from it, read a topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import penstock as ps
from penstock.wire import Cursor

from .audience import Audience
from .bookmarks import Bookmark, current_bookmarks
from .log import Log, StoredEvent, Trimmed, resolve
from .wake import Wake


class Readable(Protocol):
    """What is read of a topic."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def log(self) -> Log:
        """Where its events are."""
        ...

    @property
    def audience(self) -> Audience:
        """Who reads it; whoever reads it this way is counted there."""
        ...


def stream_of(
    name: str, find: Callable[[], Readable], after: str, convert: Callable[[StoredEvent], Any]
) -> ps.Stream[Any]:
    """The events of the topic `name`, which `find` gives, as a Stream; see `Topic.values`.

    `find` is called now and at each start, because an instance of a template that nobody used is
    dropped and made anew. Raises ``BadCursor``.
    """
    asked = after if after in ("latest", "earliest") else Cursor.parse(after)
    bookmarks = current_bookmarks.get()
    if bookmarks is None:
        return _reader(name, find, asked, convert, Bookmark())
    topic = find()
    if asked == "latest":
        asked = bookmarks.beginning.get(topic.name) or Cursor(topic.log.epoch, 0)
    return _reader(name, find, asked, convert, bookmarks.next_for(topic.name))


def _reader(
    name: str,
    find: Callable[[], Readable],
    asked: Any,
    convert: Callable[[StoredEvent], Any],
    mark: Bookmark,
) -> ps.Stream[Any]:
    async def read(send: ps.Sender[Any]) -> None:
        await _read_topic(send, find, asked, convert, mark)

    read.__name__ = f"topic({name})"  # what graphs and reports call the stage
    return ps.producer(chunked=True)(read)()


class _PacedSender(Protocol):
    """What a chunked producer sends to: a chunk of up to `piece` items is not cut up, so it goes
    through the fused stages as a whole or fails as a whole.
    """

    @property
    def piece(self) -> int: ...


async def _read_topic(
    send: ps.Sender[Any],
    find: Callable[[], Readable],
    asked: Any,
    convert: Callable[[StoredEvent], Any],
    mark: Bookmark,
) -> None:
    """Follow a topic's log. Ends with the log, or where `Bookmark.close` says; else it waits."""
    topic = find()
    log = topic.log
    if mark.epoch != log.epoch:
        start = resolve(asked, topic.name, log.epoch, log.bounds())
        mark.epoch, mark.after, mark.singly_until = log.epoch, start.after, 0
    pace = cast("_PacedSender", send)
    wake = Wake()
    mark.open(log, wake.set)
    leave = topic.audience.enter()
    unwatch = log.watch(wake.set)
    try:
        while not mark.is_done:
            limit = 1 if mark.after < mark.singly_until else pace.piece
            events = log.read(mark.after, limit)
            if isinstance(events, Trimmed):
                mark.after = events.first - 1
            elif events:
                await _hand_on(send, events, convert, mark)
            elif log.bounds().ended:
                return
            else:
                await wake.wait()
    finally:
        unwatch()
        leave()
        mark.closed()


async def _hand_on(
    send: ps.Sender[Any],
    events: list[StoredEvent],
    convert: Callable[[StoredEvent], Any],
    mark: Bookmark,
) -> None:
    """Send a chunk. A chunk that fails is taken again after the restart, one event at a time; an
    event that fails alone is passed over.
    """
    before, mark.after = mark.after, events[-1].offset
    try:
        await send.chunk([convert(event) for event in events])
    except Exception:  # of a stage behind, or of an event that is not of the topic's type
        if len(events) > 1:
            mark.after, mark.singly_until = before, events[-1].offset
        raise
