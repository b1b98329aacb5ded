"""How many events a second a reader gets, data decoded: `events` against httpx-sse with ``json``.

Both read the same body through httpx on Trio, from memory in pieces of 64 KiB, and count what
comes: `events` through a whole pipeline, checking cursors, httpx-sse in a bare loop. It answers
what a user gets who reads a busy topic. Seconds are those of the processor. No target of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from time import process_time

import httpx
import trio
from httpx_sse import aconnect_sse

import penstock as ps
from penstock.net import events
from penstock.wire import cursor_text, encode_event

from ..figures import Figure, in_turn, ratio, summary
from ..rows import Effort, Row
from .sse_parser import EVENTS, pieces, stream

URL = "http://bench/topics/cpu"


class _Body(httpx.AsyncByteStream):
    def __init__(self, data: list[bytes]) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._data:
            await trio.lowlevel.checkpoint()
            yield piece


def _client(data: list[bytes]) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Content-Type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=_Body(data))

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


async def _ours(data: list[bytes]) -> int:
    async with _client(data) as client:
        return await events(URL, client=client).to(ps.count()).run()


async def _theirs(data: list[bytes]) -> int:
    found = 0
    async with _client(data) as client, aconnect_sse(client, "GET", URL) as source:
        async for event in source.aiter_sse():
            if event.event == "end":
                return found
            if event.data:
                json.loads(event.data)
                found += 1
    return found


def _rate(read: Callable[[], Awaitable[int]], expected: int) -> float:
    started = process_time()
    if trio.run(read) != expected:
        raise AssertionError("a wrong number of events")
    return expected / (process_time() - started) / 1_000


def measure(effort: Effort) -> list[Figure]:
    """Both in turn."""
    number = int(EVENTS * effort.scale)
    id_ = cursor_text("9jlnveew0a", number)
    end = encode_event(data=f'{{"type":"end","topic":"cpu","id":"{id_}"}}', id=id_, event="end")
    data = pieces(stream(number) + end, 65_536)
    works = {
        "penstock": partial(_rate, partial(_ours, data), number),
        "httpx-sse": partial(_rate, partial(_theirs, data), number),
    }
    rates = in_turn(works, effort.rounds)
    figures = [summary(f"{name}, k events/s", rates[name]) for name in rates]
    return [*figures, ratio("ratio", rates["penstock"], rates["httpx-sse"])]


ROW = Row("A reader of event streams, data decoded, against httpx-sse", measure)
