"""The clients of the chat rows: plain sockets, so that they cost next to nothing.

Run as a process of its own: ``chat_client.py first PORT PAIRS`` or
``chat_client.py many PORT CHATS RATE SECONDS``; it prints the figures as JSON.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

_WORD = re.compile(rb'"content":"(\d+)@([\d.]+) "')
_END = b"data: [DONE]\n\n"
_RECEIVE = 1 << 16


def request(model: str, **parameters: Any) -> bytes:
    """``POST /v1/chat/completions``, streamed."""
    messages = [{"role": "user", "content": "Hello"}]
    said = {"model": model, "stream": True, "messages": messages, **parameters}
    body = json.dumps(said).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    return head % len(body) + body


def connect(port: int) -> socket.socket:
    """A connection that sends at once."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def first_words(port: int, pairs: int) -> dict[str, list[float]]:
    """In turn: the time to the model's first word without a server, and through it; in seconds."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from benchmarks.clients_rows.chat_model import at_once  # the function that the server serves

    async def alone() -> float:
        began = time.perf_counter()
        async with at_once([]).open() as words:
            await anext(aiter(words))
            return time.perf_counter() - began

    connection, asked = connect(port), request("at-once")

    def through_the_server() -> float:
        began = time.perf_counter()
        connection.sendall(asked)
        received = b""
        while b'"content":"first"' not in received:
            received += connection.recv(_RECEIVE)
        took = time.perf_counter() - began
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += connection.recv(_RECEIVE)
        return took

    async def take_turns() -> dict[str, list[float]]:
        taken: dict[str, list[float]] = {"alone": [], "served": []}
        for _ in range(pairs):
            taken["alone"].append(await alone())
            taken["served"].append(through_the_server())
        return taken

    with connection:
        return trio.run(take_turns)


@dataclass
class Chat:
    """One answer that is being read: how many words have come, and what is left of a read."""

    words: int = 0
    rest: bytes = b""


def many_chats(port: int, chats: int, rate: float, seconds: float) -> dict[str, Any]:
    """The delays of all words of many answers at a time, in seconds; each in its order."""
    count = round(rate * seconds)
    asked = request("paced", rate=rate, count=count)
    selector = selectors.DefaultSelector()
    for _ in range(chats):
        opened = connect(port)
        opened.sendall(asked)
        selector.register(opened, selectors.EVENT_READ, Chat())
    delays: list[float] = []
    whole = 0
    while selector.get_map():
        for key, _ in selector.select():
            chat: Chat = key.data
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            received = connection.recv(_RECEIVE)
            now = time.monotonic()
            text = chat.rest + received
            read = 0
            for word in _WORD.finditer(text):
                assert int(word[1]) == chat.words, "a word is missing, or came twice"
                chat.words += 1
                delays.append(now - float(word[2]))
                read = word.end()
            chat.rest = text[read:]
            if not received or _END in chat.rest:
                whole += chat.words == count
                selector.unregister(connection)
                connection.close()
    return {"delays": delays, "whole": whole}


if __name__ == "__main__":
    row, port, *numbers = sys.argv[1:]
    if row == "first":
        print(json.dumps(first_words(int(port), int(numbers[0]))))
    else:
        chats, rate, seconds = numbers
        print(json.dumps(many_chats(int(port), int(chats), float(rate), float(seconds))))
