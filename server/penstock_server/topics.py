"""A topic: a name, a log, and what feeds it (a pipeline, publications, or both)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec
import trio

import penstock as ps
from penstock.wire import Cursor

from .bookmarks import Bookmark, current_bookmarks
from .encoding import Encoding, Event, decode, encode
from .fanout import Readers
from .log import EncodedEvent, Log, MemoryLog, StoredEvent, Trimmed, resolve
from .settings import Retention
from .wake import Wake

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

Source = Callable[[], "ps.Stream[Any]"]


class Topic(Generic[T]):
    """A topic of a server. Made by `Server.topic`, which says what the options mean.

    It is also a decorator, for the function that gives its pipeline.
    """

    def __init__(
        self,
        name: str,
        *,
        retention: Retention,
        accepts: type[T] | None,
        encoding: Encoding,
        where: ps.Location | None,
    ) -> None:
        self.name = name
        self.accepts = accepts
        self.encoding: Encoding = encoding
        self.where = where
        self.source: Source | None = None
        self.log: Log = MemoryLog(retention, trio.current_time)
        self.readers = Readers()
        self.restarts = 0

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    def __call__(self, function: Callable[[], ps.Stream[Any]]) -> Topic[T]:
        """Declare the function that gives the topic's pipeline; it is called at each start."""
        if self.source is not None:
            raise ps.PipelineError(
                f"topic {self.name!r}", "has a pipeline already; merge the two streams", self.where
            )
        if not callable(function):  # pyright: ignore[reportUnnecessaryComparison]
            raise ps.PipelineError(
                f"topic {self.name!r}", f"decorates a function, not {function!r}", self.where
            )
        self.source = function
        return self

    @property
    def publishable(self) -> bool:
        """Whether clients may publish here."""
        return self.accepts is not None

    @property
    def schema(self) -> dict[str, Any] | None:
        """JSON Schema of what it accepts; None where it accepts nothing."""
        return None if self.accepts is None else json_schema(self.accepts)

    @property
    def cursor(self) -> Cursor:
        """The position after its newest event."""
        return Cursor(self.log.epoch, self.log.bounds().last)

    async def publish(self, data: T | Event, event: str | None = None) -> Cursor:
        """Store one event from the application's own code; gives the cursor that names it.

        Raises ``penstock.wire.Unencodable`` where the data has no JSON, and ``TypeError`` for an
        `Event` with a second name. A checkpoint; cancelled at it, the event is stored all the same.
        """
        if event is not None and isinstance(data, Event):
            raise TypeError("publish: an Event has its own name; leave event= out")
        item = data if event is None else Event(data, event)
        encoded = encode(item, self.encoding)
        offset = self.log.append([encoded])
        await trio.lowlevel.checkpoint()
        return Cursor(self.log.epoch, offset)

    def build(self) -> ps.Stream[Any]:
        """Call the pipeline function. Raises `PipelineError` where it doesn't give a Stream."""
        assert self.source is not None, "only a topic with a pipeline is built"
        given: object = self.source()
        if isinstance(given, ps.Stream):
            return cast("ps.Stream[Any]", given)  # type: ignore[redundant-cast]  # pyright differs
        hint = (
            "; leave the sink out: the topic is the sink"
            if isinstance(given, ps.Pipeline)
            else "; return a Stream such as every(1).map(f)"
        )
        raise ps.PipelineError(
            f"topic {self.name!r}", f"its function gave {given!r}{hint}", self._source_line()
        )

    def _source_line(self) -> ps.Location | None:
        code = getattr(self.source, "__code__", None)
        if code is None:
            return self.where
        return ps.Location(code.co_filename, code.co_firstlineno)

    def into_log(self, stream: ps.Stream[Any]) -> ps.Pipeline[None]:
        """The pipeline that appends what `stream` yields to the log.

        Everything is encoded before anything of the same chunk is appended, so a failing chunk has
        appended nothing and can be taken again.
        """

        def to_event(item: Any) -> EncodedEvent:
            return encode(item, self.encoding)

        def append(event: EncodedEvent) -> None:
            self.log.append((event,))

        return stream.map(to_event).tap(append).to(ps.drain())

    def values(self, after: str = "latest") -> ps.Stream[T]:
        """The data of its events, as instances of `accepts` where it has one, as a Stream.

        Args:
            after: ``"latest"``, ``"earliest"`` or a cursor. In the pipeline of another topic,
                ``"latest"`` is all since the server started, and a restart goes on after the last
                event taken.
        """
        accepts = self.accepts if self.accepts not in (None, Any, object) else None
        return self._stream(after, lambda event: decode(event.packed, accepts))

    def events(self, after: str = "latest") -> ps.Stream[Event]:
        """Its events, with their names, as a Stream. See `values`."""
        accepts = self.accepts if self.accepts not in (None, Any, object) else None
        return self._stream(after, lambda event: Event(decode(event.packed, accepts), event.name))

    def _stream(self, after: str, convert: Callable[[StoredEvent], Any]) -> ps.Stream[Any]:
        asked = after if after in ("latest", "earliest") else Cursor.parse(after)
        bookmarks = current_bookmarks.get()
        if bookmarks is None:
            return _read_topic(self, asked, convert, Bookmark())
        if asked == "latest":
            asked = bookmarks.beginning.get(self.name, asked)
        return _read_topic(self, asked, convert, bookmarks.next_for(self.name))


class _PacedSender(Protocol):
    """What a chunked producer sends to: a chunk of up to `piece` items is not cut up, so it goes
    through the fused stages as a whole or fails as a whole.
    """

    @property
    def piece(self) -> int: ...


@ps.producer(chunked=True)
async def _read_topic(
    send: ps.Sender[Any],
    topic: Topic[Any],
    asked: Any,
    convert: Callable[[StoredEvent], Any],
    mark: Bookmark,
) -> None:
    """Follow a topic's log. Ends with the log; waits for events as long as it takes."""
    log = topic.log
    if mark.epoch != log.epoch:
        start = resolve(asked, topic.name, log.epoch, log.bounds())
        mark.epoch, mark.after, mark.singly_until = log.epoch, start.after, 0
    pace = cast("_PacedSender", send)
    wake = Wake()
    unwatch = log.watch(wake.set)
    try:
        while True:
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


def json_schema(accepts: Any) -> dict[str, Any]:
    """JSON Schema of a type; ``object`` is anything. Raises ``TypeError`` where there is none."""
    return msgspec.json.schema(accepts, schema_hook=_schema_of_object)


def _schema_of_object(kind: type) -> dict[str, Any]:
    if kind is object:
        return {"description": "any value"}  # msgspec takes an empty schema for none
    raise NotImplementedError(kind)  # msgspec then says that it doesn't know the type


def check_accepts(name: str, accepts: Any, where: ps.Location | None) -> None:
    """Raise `PipelineError` for a type that publications can't be checked against."""
    try:
        json_schema(accepts)
    except (TypeError, ValueError) as error:
        raise ps.PipelineError(
            f"topic {name!r}",
            f"accepts must be a dataclass, a TypedDict, a msgspec Struct or a built-in type that"
            f" JSON can hold: {error}",
            where,
        ) from error
