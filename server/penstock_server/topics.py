"""A topic: a name, a log, and what feeds it (a pipeline, publications, or both)."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

import msgspec
import trio

import penstock as ps
from penstock.wire import Cursor

from .audience import Audience
from .encoding import Encoding, Event, Invalid, decode, encode, validate
from .fanout import Delivery, Slow
from .keys import BadKey, Key, key_of
from .log import EncodedEvent, Log, MemoryLog
from .options import TopicOptions
from .pressure import Pressure
from .reading import stream_of
from .schemas import json_schema

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

Source = Callable[[], "ps.Stream[Any]"]

_PUT_AT_ONCE = 256
"""Events that a ``block`` topic's pipeline has ready while it waits for room."""


class Topic(Generic[T]):
    """A topic of a server. Made by `Server.topic`, which says what the options mean.

    It is also a decorator, for the function that gives its pipeline.

    Attributes:
        name: as clients know it.
        options: what it was declared with.
        log: where its events are.
        audience: who reads it right now: connections, and pipelines of other topics.
        delivery: the connections that read it.
        pressure: makes its pipeline wait for them, with ``slow="block"``.
        restarts: how often its pipeline has failed and was started again.
        template: the name of the template that it is an instance of.
        is_traffic: whether what clients read of it counts as the server's traffic.
        touched: whether it was asked for since this was last set to False.
        used_at: when it was known to be in use last, on Trio's clock.
        successor: gives the instance of this name that there is now, once this one was dropped.
    """

    def __init__(self, name: str, options: TopicOptions, where: ps.Location | None) -> None:
        self.name = name
        self.options = options
        self.where = where
        self.source: Source | None = None
        self.accepts: type[T] | None = options.accepts
        self.encoding: Encoding = options.encoding
        self.key: Key | None = options.key
        self.slow: Slow = options.slow
        self.max_lag = options.max_lag
        self.stall_timeout = options.stall_timeout
        self.batch = options.batch
        self.log: Log = MemoryLog(
            options.retention, trio.current_time, keyed=options.key is not None
        )
        self.delivery = Delivery(
            name,
            self.log,
            batch=options.batch,
            max_lag=options.max_lag,
            patience=options.retention.events // 2,
            patience_bytes=options.retention.bytes // 2,
        )
        self.audience = Audience()
        self.pressure = Pressure(self.log, self.delivery) if self.slow == "block" else None
        self.restarts = 0
        self.template: str | None = None
        self.is_traffic = True
        self.touched = True
        self.used_at = 0.0
        self.successor: Callable[[], Topic[T]] | None = None
        self._holds = 0
        self.audience.watch(self.touch)

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    def __call__(self, function: Callable[..., ps.Stream[Any]]) -> Topic[T]:
        """Declare the function that gives the topic's pipeline; it is called at each start.

        For a template it is called once for each topic, with the values in the name as keyword
        arguments.
        """
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

    def instance(self, **values: str) -> Topic[T]:
        """The topic of a template with these values in its name, made where there is none yet.

        Raises `PipelineError` for other names than the template's parts, values that a name can't
        hold, and on a topic that is no template; `TooManyTopics` where the template has
        `max_instances` already.
        """
        raise ps.PipelineError(
            f"topic {self.name!r}", "is one topic, no template: its name has no {part}", self.where
        )

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

    def take_options(self, options: TopicOptions) -> None:
        """Have other options while it runs. Those that a log is made with must be the same."""
        self.options = options
        self.accepts = options.accepts
        self.max_lag = options.max_lag
        self.stall_timeout = options.stall_timeout
        self.log.retain(options.retention)
        kept = options.retention
        self.delivery.set_bounds(options.max_lag, kept.events // 2, kept.bytes // 2)

    # In use or idle

    @property
    def live(self) -> Topic[T]:
        """Itself; or, for an instance that was dropped for idleness, the one of its name now."""
        return self if self.successor is None else self.successor()

    @property
    def is_used(self) -> bool:
        """Whether somebody reads it or holds it right now."""
        return bool(self._holds or len(self.audience))

    def touch(self) -> None:
        """Note a use: the time until it counts as idle starts anew."""
        self.touched = True

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep an instance of a template from being dropped as idle while the block runs."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self.touch()

    # Publishing

    async def publish(self, data: T | Event, event: str | None = None) -> Cursor:
        """Store one event from the application's own code; gives the cursor that names it.

        With ``slow="block"`` it waits for room first, as long as it takes; cancelled then, nothing
        is stored. Else it is only a checkpoint; cancelled at it, the event is stored all the same.

        Raises ``penstock.wire.Unencodable`` where the data has no JSON, ``Invalid`` (a
        ``ValueError``) where it is not of the type that the topic accepts or has no key, and
        ``TypeError`` for an `Event` with a second name.
        """
        if event is not None and isinstance(data, Event):
            raise TypeError("publish: an Event has its own name; leave event= out")
        item = data if event is None else Event(data, event)
        encoded = self._checked(item)
        topic = self.live
        with topic.held():
            offset = await topic.append((encoded,))
            await trio.lowlevel.checkpoint()
        return Cursor(topic.log.epoch, offset)

    def _checked(self, item: object) -> EncodedEvent:
        """The event that the application's code publishes, checked as a client's would be."""
        try:
            encoded = self.encoded(item)
        except BadKey as fault:
            raise Invalid(str(fault)) from fault
        if self.accepts is not None:
            validate(msgspec.msgpack.decode(encoded.packed), self.accepts, self.encoding)
        return encoded

    def key_of(self, item: object) -> str | None:
        """The key of an item's data as text; None without ``key=``. Raises `BadKey`."""
        return key_of(self.key, item.data if isinstance(item, Event) else item)

    def encoded(self, item: object) -> EncodedEvent:
        """An item as an event of this topic. Raises `Unencodable` and `BadKey`."""
        encoded = encode(item, self.encoding)
        if self.key is None:
            return encoded
        return msgspec.structs.replace(encoded, key=self.key_of(item))

    async def append(self, events: Sequence[EncodedEvent]) -> int:
        """Store events, with ``slow="block"`` as soon as there is room; gives the last's offset."""
        if self.pressure is not None:
            return await self.pressure.append(events)
        return self.log.append(events)

    # The pipeline

    def build(self) -> ps.Stream[Any]:
        """Call the pipeline function. Raises `PipelineError` where it doesn't give a Stream."""
        assert self.source is not None, "only a topic with a pipeline is built"
        where = line_of(self.source) or self.where
        return checked_stream(self.source(), "topic", self.name, where)

    def into_log(self, stream: ps.Stream[Any]) -> ps.Pipeline[None]:
        """The pipeline that appends what `stream` yields to the log.

        Everything is encoded before anything of the same chunk is appended, so a failing chunk has
        appended nothing and can be taken again. With ``slow="block"`` a task of its own appends, as
        soon as there is room.
        """

        def to_event(item: Any) -> EncodedEvent:
            return self.encoded(item)

        def append(event: EncodedEvent) -> None:
            self.log.append((event,))

        events = stream.map(to_event)
        if self.slow == "block":
            return events.buffer(_PUT_AT_ONCE).to(_append_when_there_is_room(self))
        return events.tap(append).to(ps.drain())

    # Reading

    def values(self, after: str = "latest") -> ps.Stream[T]:
        """The data of its events, as instances of `accepts` where it has one, as a Stream.

        Whoever reads it counts as a subscriber: it starts a ``start="demand"`` pipeline. But it is
        not waited for by ``slow="block"``, which is for clients; overtaken, it goes on with the
        oldest event there is.

        Args:
            after: ``"latest"``, ``"earliest"`` or a cursor. In the pipeline of another topic,
                ``"latest"`` is all since the server started (or, in a template's pipeline, since
                the instance was made), and a restart goes on after the last event taken. What is
                in flight behind a task boundary (``map_async``, ``buffer``) when the pipeline fails
                is lost.
        """
        accepts = self.accepts if self.accepts not in (None, Any, object) else None
        return stream_of(
            self.name, lambda: self.live, after, lambda event: decode(event.packed, accepts)
        )

    def events(self, after: str = "latest") -> ps.Stream[Event]:
        """Its events, with their names, as a Stream. See `values`."""
        accepts = self.accepts if self.accepts not in (None, Any, object) else None
        return stream_of(
            self.name,
            lambda: self.live,
            after,
            lambda event: Event(decode(event.packed, accepts), event.name),
        )


@ps.sink
async def _append_when_there_is_room(receive: ps.Receiver[EncodedEvent], topic: Topic[Any]) -> None:
    """Append what comes as soon as the topic has room. Cancelled, what it holds is lost."""
    async for event in receive:
        await topic.append((event,))


def checked_stream(
    given: object, kind: str, name: str, where: ps.Location | None
) -> ps.Stream[Any]:
    """What a function gave, which is to be a Stream. Raises `PipelineError` for anything else.

    `kind` and `name` say whose function it is.
    """
    if isinstance(given, ps.Stream):
        return cast("ps.Stream[Any]", given)  # type: ignore[redundant-cast]  # pyright differs
    hint = (
        f"; leave the sink out: the {kind} is the sink"
        if isinstance(given, ps.Pipeline)
        else "; return a Stream such as every(1).map(f)"
    )
    raise ps.PipelineError(f"{kind} {name!r}", f"its function gave {given!r}{hint}", where)


def line_of(function: Any) -> ps.Location | None:
    """Where a function is defined, also behind partials; None where it has no line."""
    while hasattr(function, "func"):
        function = function.func
    code = getattr(function, "__code__", None)
    return None if code is None else ps.Location(code.co_filename, code.co_firstlineno)
