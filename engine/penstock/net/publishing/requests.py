"""A publisher's requests, over httpx: one batch, one answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

import httpx
import trio

from ..failures import system_error, untrusted
from ..http import in_one_piece, short_body, unasked_coding
from ..losses import Refused
from ..waiting import CONNECT_SECONDS, retry_after_seconds
from .policy import Answer
from .queue import Batch
from .settings import Way

MEDIA_TYPE = "application/msgpack"

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
        self._headers = [(name.encode(), value.encode()) for name, value in way.headers.items()]
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
            except httpx.RequestError as error:
                raise NoAnswer(system_error(error), arrived=True) from error
        raise NoAnswer(f"no answer within {self._timeout:g} s", arrived=True)

    async def _post(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        request = self._client.build_request("POST", self._url, headers=headers, content=body)
        response = await self._client.send(in_one_piece(request), stream=True)
        async with aclosing(response):
            said = response.headers.get("Retry-After")
            return Answer(
                response.status_code,
                # What is too long, or compressed unasked, isn't the protocol's.
                b"" if unasked_coding(response) else await short_body(response),
                None if said is None else retry_after_seconds(said, datetime.now(UTC)),
                response.headers.get("Idempotent-Replayed", "").lower() == "true",
                response.headers.get("Location", ""),
            )


@asynccontextmanager
async def open_requests(way: Way, patience: float) -> AsyncGenerator[Requests, None]:
    """Requests to a topic, over connections that are kept while the block runs."""
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(patience, connect=min(patience, CONNECT_SECONDS)),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        verify=True if way.ssl_context is None else way.ssl_context,
    ) as client:
        yield Requests(client, way, patience)
