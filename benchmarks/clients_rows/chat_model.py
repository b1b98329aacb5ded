"""The server of the chat rows: a model that speaks at once, and one that keeps a pace."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import trio

import penstock as ps
from penstock.wire import ChatMessage
from penstock_server import Server

server = Server(title="The chat rows")


@ps.producer
async def at_once(messages: Sequence[ChatMessage]) -> AsyncIterator[str]:
    """One word, without a wait."""
    yield "first"


server.chat_model("at-once")(at_once)


@server.chat_model("paced", max_running=1000)
@ps.producer
async def paced(
    messages: Sequence[ChatMessage], parameters: Mapping[str, Any]
) -> AsyncIterator[str]:
    """Numbered words, ``rate`` a second, each with the time at which it was due.

    That is on the system's monotonic clock, which all processes share. A word that comes late
    because the server was busy is due all the same when it was.
    """
    began = trio.current_time()
    offset = time.monotonic() - began
    for number in range(parameters["count"]):
        due = began + number / parameters["rate"]
        await trio.sleep_until(due)
        yield f"{number}@{due + offset:.6f} "
