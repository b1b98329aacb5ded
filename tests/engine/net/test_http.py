"""What every HTTP client has in common."""

from __future__ import annotations

import gc
import gzip
import socket
import struct
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trio

import penstock as ps
from penstock.net import Refused, job, openai_chat, publish
from penstock.net.http import (
    in_one_piece,
    media_type_of,
    parsed_url,
    short_body,
    unasked_coding,
)
from penstock.wire import ChatMessage

LARGE = "a" * 20_000_000  # more than the system takes before the server reads
NEVER = ps.Backoff(initial=60.0, maximum=60.0)


async def start_job(url: str, told: Callable[[object], object]) -> None:
    await job(url, LARGE, on_loss=told, reconnect=NEVER).to(ps.collect()).run()


async def publish_item(url: str, told: Callable[[object], object]) -> None:
    await ps.from_iterable([LARGE]).to(publish(url, on_loss=told, reconnect=NEVER)).run()


async def ask_model(url: str, told: Callable[[object], object]) -> None:
    model = openai_chat(url, "m", retries=0)
    try:
        await model([ChatMessage("user", LARGE)]).to(ps.collect()).run()
    except ps.StageError as error:
        told(error)


@asynccontextmanager
async def resetting() -> AsyncGenerator[str, None]:
    """The URL of a server that resets each connection once a request has begun."""

    async def reset(connection: trio.SocketStream) -> None:
        await connection.receive_some()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, reset, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/topics/cpu"
        nursery.cancel_scope.cancel("the test is over")


@pytest.mark.parametrize("client", [start_job, publish_item, ask_model])
async def test_a_connection_that_breaks_in_mid_request_leaves_nothing_behind(
    client: Callable[[str, Callable[[object], object]], Awaitable[None]],
) -> None:
    told: list[object] = []
    with warnings.catch_warnings(record=True) as left_behind, trio.fail_after(20):
        warnings.simplefilter("always")
        async with resetting() as url:
            with trio.CancelScope() as scope:

                def broke(problem: object) -> None:
                    told.append(problem)
                    scope.cancel("it broke")

                await client(url, broke)
        gc.collect()
    assert len(told) == 1
    assert [str(each.message) for each in left_behind] == []


async def test_a_request_in_one_piece_can_be_sent_again() -> None:
    request = in_one_piece(httpx.Request("POST", "http://host/", content=b"body"))
    assert request.headers["Content-Length"] == "4"
    assert isinstance(request.stream, httpx.AsyncByteStream)
    for _ in range(2):
        assert [piece async for piece in request.stream] == [b"body"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("cpu", "must be like https://HOST/v1"),
        ("ftp://host/v1", "must be like https://HOST/v1"),
        ("http://", "must be like https://HOST/v1"),
        ("http://[", "is not a URL: "),
        ("http://host:port/", "is not a URL: "),
        ("http://host:99999/", "is not a URL: "),
        ("http://host/\n", "is not a URL: "),
    ],
)
def test_what_is_no_url_of_ours(url: str, problem: str) -> None:
    with pytest.raises(Refused, match=f"^{problem}"):
        parsed_url(url, like="https://HOST/v1")


def response(body: bytes = b"", accepts: str = "identity", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("GET", "http://host/", headers={"Accept-Encoding": accepts})

    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), 30_000):
            yield body[start : start + 30_000]

    return httpx.Response(200, headers=named, content=pieces(), request=request)


async def test_a_short_body_is_whole_or_nothing() -> None:
    assert await short_body(response(b"a" * 65536)) == b"a" * 65536
    assert await short_body(response(b"a" * 65537)) == b""
    assert await short_body(response(b"a", Content_Length="65537")) == b""
    packed = gzip.compress(b"a" * 65537)
    assert await short_body(response(packed, Content_Encoding="gzip")) == b""


@pytest.mark.parametrize(
    ("accepts", "given", "unasked"),
    [
        ("gzip", "gzip", ""),
        ("gzip;q=1.0, br", "BR", ""),
        ("identity", "", ""),
        ("identity", "identity", ""),
        ("identity", "gzip", "gzip"),
        ("gzip", "zstd, gzip, br", "br, zstd"),
    ],
)
def test_codings_that_nobody_asked_for(accepts: str, given: str, unasked: str) -> None:
    headers: dict[str, Any] = {"Content_Encoding": given} if given else {}
    assert unasked_coding(response(accepts=accepts, **headers)) == unasked


def test_media_types_have_no_parameters() -> None:
    assert media_type_of(response(Content_Type=" Text/Event-Stream ; charset=utf-8")) == (
        "text/event-stream"
    )
    assert media_type_of(response()) == ""
