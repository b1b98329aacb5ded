"""One log of a server over HTTP: how it is asked for, and asked for again."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import httpx

from ..failures import untrusted
from ..http import in_one_piece, media_type_of, pieces_of
from ..losses import ConnectionLost, Refused
from ..waiting import CONNECT_SECONDS
from .answers import problem_of, require_asked_coding, require_success
from .formats import MEDIA_TYPES, DataFormat, Decoder, Format, decoder_for
from .position import Signal

_ACCEPTS: Mapping[Format, str] = {format_: kind for kind, format_ in MEDIA_TYPES.items()}
_WORDS = ("earliest", "latest")  # penstock's own, so they go into the query
_HEADER_VALUE = re.compile(r"[^\x00-\x20\x7f]([^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?")
_SLICE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Start:
    """The request that starts a job: sent until the answer says where the run is.

    Attributes:
        body: the job's body.
        content_type: what it is.
        key: the ``Idempotency-Key``: the same for each attempt, so that one run is started.
    """

    body: bytes
    content_type: str
    key: str | None = None

    def with_key(self) -> Start:
        """The same, with a key of its own where it has none yet."""
        return self if self.key is not None else replace(self, key=uuid.uuid4().hex)


@dataclass
class LogRequest:
    """What is asked for, connection by connection. See `read_resuming` for `connect`.

    Attributes:
        client: sends the requests.
        url: the log, or the job that is to be started.
        format: the format that is asked for; what comes is read by its media type.
        data: how the data of an event stream is read.
        headers: further headers of each request.
        timeout: the longest silence in seconds; None has no end.
        start: what starts the job, where there is one to be started.
    """

    client: httpx.AsyncClient
    url: httpx.URL
    format: Format = "sse"
    data: DataFormat = "json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float | None = None
    start: Start | None = None
    _was_answered: bool = field(default=False, init=False)

    @asynccontextmanager
    async def connect(
        self, after: str | None
    ) -> AsyncGenerator[AsyncIterator[Sequence[Signal]], None]:
        """Ask for what comes after a cursor."""
        try:
            response = await self.client.send(
                self._request(after), stream=True, follow_redirects=True
            )
            async with aclosing(response):
                await require_success(response, asked_before=self._was_answered)
                self._was_answered = True
                if self.start is not None:
                    self._follow(response)
                decoder = self._decoder_of(response)
                async with aclosing(_signals(response, decoder)) as signals:
                    yield signals
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise Refused(str(error)) from error
        except httpx.RequestError as error:
            distrust = untrusted(error, "client= takes an httpx.AsyncClient that trusts it")
            if distrust is not None:
                raise Refused(distrust) from error
            raise ConnectionLost(problem_of(error)) from error

    def _request(self, after: str | None) -> httpx.Request:
        # Compressed by gzip only: with others, a few bytes unpack to gigabytes in one go.
        headers = httpx.Headers({"Accept": _ACCEPTS[self.format], "Accept-Encoding": "gzip"})
        headers["Cache-Control"] = "no-store"
        headers.update(self.headers)
        url = self.url
        if after is not None and self.start is None:
            if self.format == "sse" and after not in _WORDS:
                headers["Last-Event-ID"] = _header_value(after)
            else:
                url = url.copy_set_param("after", after)
        timeout = httpx.Timeout(self.timeout, connect=CONNECT_SECONDS)
        if self.start is None:
            return self.client.build_request("GET", url, headers=headers, timeout=timeout)
        headers["Content-Type"] = self.start.content_type
        headers["Idempotency-Key"] = self.start.key or ""
        return in_one_piece(
            self.client.build_request(
                "POST", url, headers=headers, timeout=timeout, content=self.start.body
            )
        )

    def _follow(self, response: httpx.Response) -> None:
        """From now on, read the run that was started."""
        location = response.headers.get("Location")
        if location is None:
            raise Refused("not a job of a penstock server: the answer doesn't say where the run is")
        try:
            url = response.url.join(location)
        except httpx.InvalidURL as error:
            raise Refused(f"the server says that the run is at no URL: {error}") from error
        if (url.scheme, url.netloc) != (response.url.scheme, response.url.netloc):
            # The headers may hold a token that is this server's only.
            raise Refused(f"the server says that the run is at another one, {url.host[:80]}")
        self.url, self.start = url, None

    def _decoder_of(self, response: httpx.Response) -> Decoder:
        media_type = media_type_of(response)
        format_ = MEDIA_TYPES.get(media_type)
        if format_ is None:
            given = media_type or "without a type"
            raise Refused(
                f"not a topic of a penstock server, and no event stream: the answer is {given[:80]}"
            )
        require_asked_coding(response)
        # For the next time, however this one was asked for.
        self.format = format_
        return decoder_for(format_, topic_of(self.url), self.data)


def topic_of(url: httpx.URL) -> str:
    """The topic of a URL: ``cpu`` of ``/topics/cpu``, ``census.7`` of ``/jobs/census/7``."""
    place, name, last = ["", "", *unquote(url.path).split("/")][-3:]
    return f"{name}.{last}" if place == "jobs" else last


def _header_value(id_: str) -> str:
    if _HEADER_VALUE.fullmatch(id_) is None:
        raise Refused(f"the server's event id {id_[:40]!r} can't be sent back in a header")
    return id_


async def _signals(
    response: httpx.Response, decoder: Decoder
) -> AsyncGenerator[Sequence[Signal], None]:
    async with aclosing(pieces_of(response)) as pieces:
        async for piece in pieces:
            # A piece that was compressed may be large, and what is made of it larger still.
            for start in range(0, len(piece), _SLICE_BYTES):
                signals = decoder.feed(piece[start : start + _SLICE_BYTES])
                if signals:
                    yield signals
