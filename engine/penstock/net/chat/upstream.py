"""A server that penstock asks on behalf of others: an HTTP request, tried again where that helps.

The rules:

- a request is tried again only before its answer has begun: where there was no connection, or the
  answer is 408, 409, 425, 429 or 5xx, and at most as often as told;
- a wait is as long as ``Retry-After`` asks for; where it asks for too much, there is no wait and
  no further attempt;
- redirects are not followed: they would carry the key elsewhere;
- what the upstream says of a failure is cut short, and no key or header is part of any error.
"""

from __future__ import annotations

import random
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

import httpx
import trio

from penstock import _options as options
from penstock._backoff import Backoff
from penstock._errors import PenstockError
from penstock.wire.openai import read_fault, short

from ..failures import may_pass, system_error
from ..http import parsed_url, pieces_of, unasked_coding
from ..losses import Refused
from ..options import checked_headers, header_problem
from ..waiting import retry_after_seconds

DEFAULT_TIMEOUT = 60.0
DEFAULT_CONNECT_TIMEOUT = 10.0
DEFAULT_BACKOFF = Backoff(initial=0.5, maximum=8.0)

_MAX_WAIT = 60.0
_MAX_ERROR_BYTES = 64 * 1024
_SECRET = re.compile("auth|key|token|secret|cookie", re.IGNORECASE)
_SHORTEST_SECRET = 4
_HINTS = {
    401: "; check the API key",
    403: "; check the API key",
    404: "; check the base URL, which mostly ends in /v1, and the model's name",
}


class UpstreamError(PenstockError):
    """An upstream that refused, failed, or said what can't be understood.

    Attributes:
        problem: where, what happened, and what the upstream said of it, cut short.
        status: the HTTP status of its answer; None where there was none.
        code: the upstream's own code, such as ``rate_limit_exceeded``, where it gave one.
        retry_after: the seconds that it asks to wait before another attempt, where it does.
    """

    def __init__(
        self,
        problem: str,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.problem = problem
        self.status = status
        self.code = code
        self.retry_after = retry_after
        super().__init__(problem, status, code, retry_after)

    def __str__(self) -> str:
        return self.problem


class _Temporary(Exception):
    """A failure before the answer has begun, which another attempt may mend."""

    def __init__(self, error: UpstreamError) -> None:
        self.error = error
        super().__init__(error)


@dataclass(frozen=True)
class Upstream:
    """Where an upstream is and how it is asked. Its ``repr`` shows no key and no header.

    Attributes:
        url: the base URL, to which paths are appended.
        headers: what each request carries.
        timeout: the longest silence in seconds, before the answer and in it.
        connect_timeout: seconds for a connection.
        retries: how often a request is tried again.
        backoff: the waits in between.
    """

    url: httpx.URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    connect_timeout: float
    retries: int
    backoff: Backoff
    # Made once: reading the certificates of the system takes tens of milliseconds.
    tls: ssl.SSLContext = field(repr=False, default_factory=httpx.create_ssl_context)

    @property
    def place(self) -> str:
        """Where it is, for people: without the query, which may hold a key."""
        return str(self.url.copy_with(query=None))

    def client(self) -> httpx.AsyncClient:
        """A client for one request, to be entered. Cancelled, it closes its connection at once."""
        return httpx.AsyncClient(
            verify=self.tls,
            # Compressed, a small answer could unpack to any size.
            headers={**self.headers, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(self.timeout, connect=self.connect_timeout),
            follow_redirects=False,
        )

    def target(self, path: str) -> httpx.URL:
        """The URL of a path below the base."""
        return self.url.copy_with(path=f"{self.url.path.rstrip('/')}/{path}")

    def failure(
        self,
        problem: str,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> UpstreamError:
        """The error for this upstream, with what it must not tell taken out."""
        return UpstreamError(
            self._without_secrets(f"{self.place} {problem}"),
            status,
            None if code is None else self._without_secrets(code),
            retry_after,
        )

    def _without_secrets(self, text: str) -> str:
        for name, value in self.headers.items():
            secret = value.removeprefix("Bearer ")
            if _SECRET.search(name) and len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "[…]")
        return text


def make_upstream(
    stage: str,
    base_url: str,
    api_key: str | None,
    headers: Mapping[str, str] | None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    retries: int = 2,
    backoff: Backoff = DEFAULT_BACKOFF,
) -> Upstream:
    """Check what a user gave. Raises `PipelineError` in the name of `stage`; it shows no secret."""
    options.seconds(stage, "timeout", timeout)
    options.seconds(stage, "connect_timeout", connect_timeout)
    options.whole_number(stage, "retries", retries, at_least=0)
    stripped = {name: value.strip() for name, value in (headers or {}).items()}
    given = checked_headers(stage, stripped)
    if api_key is not None and api_key.strip():
        given["Authorization"] = f"Bearer {api_key.strip()}"
        if header_problem("Authorization", given["Authorization"]) is not None:
            raise options.refuse(stage, "api_key must be printable ASCII on one line")
    url = _base_url(stage, base_url)
    return Upstream(url, given, timeout, connect_timeout, retries, backoff)


def _base_url(stage: str, given: str) -> httpx.URL:
    if not isinstance(given, str):
        raise options.refuse(stage, f"base_url must be text, got {given!r}")
    try:
        url = parsed_url(given, like="https://HOST/v1")
    except Refused as refused:
        raise options.refuse(stage, f"base_url {refused}") from refused
    if url.userinfo:
        raise options.refuse(stage, "base_url must hold no password; give api_key or headers")
    return url.copy_with(fragment=None)


async def ask(
    client: httpx.AsyncClient,
    upstream: Upstream,
    request: httpx.Request,
    *,
    chance: Callable[[], float] = random.random,
) -> httpx.Response:
    """Send a request, and again where that may help; gives an answer of status 200, to be closed.

    The request's body must be one that can be sent again. Raises `UpstreamError`. Cancelled, the
    connection is closed.
    """
    failures = 0
    while True:
        try:
            return await _attempt(client, upstream, request)
        except _Temporary as failed:
            wait = failed.error.retry_after or 0.0
            if failures == upstream.retries or wait > _MAX_WAIT:
                raise failed.error from failed.error.__cause__
        await trio.sleep(max(wait, upstream.backoff.delay(failures, chance())))
        failures += 1


async def _attempt(
    client: httpx.AsyncClient, upstream: Upstream, request: httpx.Request
) -> httpx.Response:
    try:
        response = await client.send(request, stream=True)
    except httpx.ReadTimeout as error:
        raise upstream.failure(f"sent nothing for {upstream.timeout:g} s") from error
    except httpx.RequestError as error:
        failure = upstream.failure(f"can't be reached: {short(system_error(error))}")
        failure.__cause__ = error
        raise _Temporary(failure) from error
    if response.status_code == HTTPStatus.OK:
        return response
    async with aclosing(response):
        failure = await _refusal(upstream, response)
    temporary = may_pass(response.status_code) or response.status_code == HTTPStatus.CONFLICT
    if temporary and failure.code != "insufficient_quota":
        raise _Temporary(failure)
    raise failure


async def _refusal(upstream: Upstream, response: httpx.Response) -> UpstreamError:
    status = response.status_code
    if response.has_redirect_location:
        place = response.headers["Location"].partition("?")[0]
        detail, code = f", a redirect to {short(place)}; give the base URL that it leads to", None
    else:
        fault = read_fault(await bounded_body(upstream, response))
        detail, code = f": {fault.message}" if fault.message else "", fault.code
    named = f"{status} {response.reason_phrase}".strip()
    retry_after = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
    return upstream.failure(
        f"answered {short(named)}{detail}{_HINTS.get(status, '')}",
        status,
        code,
        retry_after or None,
    )


async def bounded_body(
    upstream: Upstream, response: httpx.Response, most: int = _MAX_ERROR_BYTES
) -> bytes:
    """The first bytes of a body: what comes of it, at most so many, and within the time-out."""
    body = b""
    if unasked_coding(response):
        return body
    with trio.move_on_after(upstream.timeout):
        try:
            async with aclosing(pieces_of(response)) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) >= most:
                        break
        except httpx.RequestError:
            pass  # what has come is all there is
    return body[:most]
