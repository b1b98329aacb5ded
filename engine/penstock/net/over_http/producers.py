"""``events`` and ``job``: a server's log as a `Stream`, through lost connections.

What they promise: every event in order and once, or a `Gap` in its place. At most one piece of the
answer is in memory besides the stream's own buffer, so a slow pipeline slows down the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import httpx

from penstock import _options as options
from penstock._backoff import Backoff
from penstock._spec import Node, PushSource, Sender, caller
from penstock.stream import Stream
from penstock.wire import End, Gap, Unencodable, encode_json, normalise

from ..losses import Loss, log_loss
from ..options import checked_headers, http_url, require_recovery
from ..received import Event
from .formats import DataFormat, Format
from .position import Item, Position
from .request import LogRequest, Start, topic_of
from .resuming import read_resuming

DEFAULT_TIMEOUT = 45.0
"""Seconds of silence. A server of penstock says something every 15 s; three times that is dead."""

_FORMATS = ("sse", "ndjson", "msgpack")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a log is read; `events` documents the fields."""

    url: httpx.URL
    after: str | None = None
    reconnect: Backoff = field(default_factory=Backoff)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    format: Format = "sse"
    data: DataFormat = "json"
    conflated: bool = False
    timeout: float | None = DEFAULT_TIMEOUT
    client: httpx.AsyncClient | None = None
    on_loss: Callable[[Loss], object] | None = None
    start: Start | None = None

    def lost(self, loss: Loss) -> None:
        """Tell of a lost connection."""
        if self.on_loss is not None:
            self.on_loss(loss)
        else:
            log_loss(str(self.url), loss)


async def read_log(reading: Reading, send: Callable[[list[Item]], Awaitable[object]]) -> End | None:
    """Send what a log says until it is finished; gives how it ended, None where it was over before.

    Raises `Refused`. Cancelled, it closes the connection.
    """
    position = Position(reading.after, conflated=reading.conflated)
    async with AsyncExitStack() as stack:
        client = reading.client
        if client is None:
            client = await stack.enter_async_context(httpx.AsyncClient())
        request = LogRequest(
            client,
            reading.url,
            reading.format,
            reading.data,
            reading.headers,
            reading.timeout,
            None if reading.start is None else reading.start.with_key(),
        )
        await read_resuming(
            request.connect, send, position, backoff=reading.reconnect, on_loss=reading.lost
        )
    return position.end


def events(
    url: str,
    *,
    after: str | None = None,
    reconnect: Backoff = Backoff(),  # noqa: B008 - frozen
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    format: Format = "sse",  # noqa: A002 - as the query parameter is called
    data: DataFormat = "json",
    conflated: bool = False,
    timeout: float | None = DEFAULT_TIMEOUT,
    client: httpx.AsyncClient | None = None,
    on_loss: Callable[[Loss], object] | None = None,
) -> Stream[Event | Gap]:
    """The events of a topic, or of a job's run, from a server; ends when the log is finished.

    Each event comes in order and once. Where some can't be had any more (trimmed away, lost with
    the server's memory, or this reader was too slow), a `Gap` comes in their place. A connection
    that breaks, falls silent or is refused for the moment (408, 425, 429, 5xx) is made again, for
    ever, after the last event that came. Other servers of event streams can be read, too: their
    ids go back as ``Last-Event-ID``, and what that is good for is up to them.

    Args:
        url: such as ``http://127.0.0.1:8000/topics/cpu``. A `Refused` says what else it may be.
        after: where to start: a cursor, ``earliest`` or ``latest``; None is the server's default,
            ``latest`` for a topic and ``earliest`` for a run.
        reconnect: the waits between attempts. They are as long as the server asks for, at least
            (``retry:``, ``Retry-After``, ``reconnect``; at most an hour), and jitter comes on top.
        headers: of each request, such as ``{"Authorization": "Bearer …"}``.
        params: parameters that are added to the URL's own.
        format: what to ask for: ``sse``, ``ndjson`` or ``msgpack``. All give the same events;
            bytes stay bytes in ``msgpack`` only. What comes is read by its media type.
        data: the data of an event stream is read as ``json``, and what is none stays text; or it
            is all ``text``, as for a topic with ``encoding="text"``.
        conflated: the topic conflates, so the events between two newest ones are not missed.
        timeout: the seconds of silence after which a connection counts as dead; None for never. A
            server of penstock says something every 15 seconds.
        client: an httpx client to use, for proxies, certificates and the like; it stays open.
        on_loss: told of each lost connection. Without it, the first one of several in a row is
            logged as a warning of ``penstock.net``, the others at level DEBUG.

    Raises `PipelineError` at once for options that can't be, and, while it runs, `Refused` (within
    a `StageError`): no such topic, no right, not a stream of events. Cancelled, the connection is
    closed.
    """
    reading = Reading(
        url=_url("events", url, params),
        after=after,
        reconnect=reconnect,
        headers=checked_headers("events", headers),
        format=format,
        data=data,
        conflated=conflated,
        timeout=timeout,
        client=client,
        on_loss=on_loss,
    )
    return _stream("events", reading)


def job(
    url: str,
    body: object = None,
    *,
    key: str | None = None,
    reconnect: Backoff = Backoff(),  # noqa: B008 - frozen
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    format: Format = "sse",  # noqa: A002 - as the query parameter is called
    data: DataFormat = "json",
    timeout: float | None = DEFAULT_TIMEOUT,
    client: httpx.AsyncClient | None = None,
    on_loss: Callable[[Loss], object] | None = None,
) -> Stream[Event | Gap]:
    """Start a job on a server; the events of its run, from the first to the last.

    The job is started once, however often the request has to be sent (``Idempotency-Key``); a lost
    connection is taken up again at the run's own place. What a run survives is up to the server: a
    job without ``detach`` is cancelled when its reader goes, and its events end there. A run that
    fails ends with an event named ``error``, its data a problem document (RFC 9457).

    Args:
        url: such as ``http://127.0.0.1:8000/jobs/census``.
        body: what the job is given: any value that JSON can say, dataclasses and Structs too.
        key: names the run: with the same key another reader, or a later one, gets the same run.
            None draws a new one each time that the stream is run.
        reconnect, headers, params, format, data, timeout, client, on_loss: see `events`.

    Raises like `events`; `Refused` also where the body isn't what the job takes.
    """
    try:
        content = encode_json(normalise(body))
    except Unencodable as error:
        raise options.refuse("job", f"body can't be said in JSON: {error}") from error
    reading = Reading(
        url=_url("job", url, params),
        reconnect=reconnect,
        headers=checked_headers("job", headers),
        format=format,
        data=data,
        timeout=timeout,
        client=client,
        on_loss=on_loss,
        start=Start(content, "application/json", key),
    )
    return _stream("job", reading)


def _url(stage: str, url: str, params: Mapping[str, str] | None) -> httpx.URL:
    parsed = http_url(stage, url)
    return parsed.copy_merge_params(params) if params else parsed


def _stream(stage: str, reading: Reading) -> Stream[Event | Gap]:
    options.one_of(stage, "format", reading.format, _FORMATS)
    options.one_of(stage, "data", reading.data, ("json", "text"))
    if reading.timeout is not None:
        options.seconds(stage, "timeout", reading.timeout)
    require_recovery(stage, reading.reconnect, reading.on_loss)
    name = f"{stage}({topic_of(reading.url)})"
    return Stream(Node(name, PushSource(partial(_read, reading)), where=caller()))


async def _read(reading: Reading, send: Sender[Item]) -> None:
    await read_log(reading, send.chunk)
