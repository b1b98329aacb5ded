"""A publisher's requests, over httpx: one batch, one answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

import httpx
import trio

from .failures import system_error, untrusted
from .http import pieces_of, retry_after_seconds
from .losses import Refused
from .offline_queue import Batch
from .publishing_policy import Answer
from .publishing_settings import Way

MEDIA_TYPE = "application/msgpack"

_CONNECT_SECONDS = 10.0
_MAX_ANSWER_BYTES = 64 * 1024

# Failures before any byte of the request can have been sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class NoAnswer(Exception):
    """A request was not answered.

    Attributes:
        problem: what happened.
        arrived: whether the server may have got the request, and done what it asks for.
    """

    def __init__(self, problem: str, *, arrived: bool) -> None:
        self.problem = problem
        self.arrived = arrived
        super().__init__(problem, arrived)


class Requests:
    """Sends batches to one topic.

    Args:
        client: an open client.
        way: to the topic.
        timeout: seconds for a request and its answer.
    """

    def __init__(self, client: httpx.AsyncClient, way: Way, timeout: float) -> None:
        self._client = client
        self._url = way.url
        self._headers = list(way.headers)
        self._timeout = timeout

    async def send(self, batch: Batch) -> Answer:
        """Send a batch. Raises `NoAnswer`, and `Refused` for a certificate that isn't trusted.

        Cancelled, the server may have got it or not."""
        headers = [
            *self._headers,
            (b"Content-Type", MEDIA_TYPE.encode()),
            (b"Idempotency-Key", batch.key.encode()),
        ]
        if batch.event is not None:
            headers.append((b"Event-Name", batch.event.encode()))
        with trio.move_on_after(self._timeout):
            try:
                return await self._post(batch.body, headers)
            except _NOT_SENT as error:
                distrust = untrusted(error)
                if distrust:
                    raise Refused(distrust) from error
                raise NoAnswer(system_error(error), arrived=False) from error
            except httpx.TransportError as error:
                raise NoAnswer(system_error(error), arrived=True) from error
        raise NoAnswer(f"no answer within {self._timeout:g} s", arrived=True)

    async def _post(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        headers.append((b"Content-Length", str(len(body)).encode()))
        request = self._client.build_request("POST", self._url, headers=headers)
        request.stream = _Body(body)
        async with aclosing(await self._client.send(request, stream=True)) as response:
            said = response.headers.get("Retry-After")
            return Answer(
                response.status_code,
                await _start_of(response),
                None if said is None else retry_after_seconds(said, datetime.now(UTC)),
                response.headers.get("Idempotent-Replayed", "").lower() == "true",
                response.headers.get("Location", ""),
            )


class _Body(httpx.AsyncByteStream):
    """A request's body in one piece.

    httpx would make an async generator of it, and leave that to the garbage collector, with a
    warning, where the connection breaks before the body was sent.
    """

    def __init__(self, data: bytes) -> None:
        self._left = [data]

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@asynccontextmanager
async def open_requests(way: Way, patience: float) -> AsyncGenerator[Requests, None]:
    """Requests to a topic, over connections that are kept while the block runs."""
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(patience, connect=min(patience, _CONNECT_SECONDS)),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        verify=True if way.ssl_context is None else way.ssl_context,
    ) as client:
        yield Requests(client, way, patience)


async def _start_of(response: httpx.Response) -> bytes:
    """The body; nothing where it is too long, or compressed unasked, to be the protocol's."""
    body = b""
    if "Content-Encoding" in response.headers:
        return body
    async with aclosing(pieces_of(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > _MAX_ANSWER_BYTES:
                return b""
    return body
