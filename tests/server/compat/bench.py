"""A server in memory with chat models, for the tests of their addresses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

import penstock as ps
from penstock.wire import ChatDelta, ChatMessage
from penstock_server import Server, Timing

from ..asgi_driver import Driver, serving

JSON_BODY = {"content-type": "application/json"}
COMPLETIONS = "/v1/chat/completions"
USER = {"role": "user", "content": "?"}
UI_USER = {"role": "user", "parts": [{"type": "text", "text": "?"}]}

Model = Callable[..., "ps.Stream[Any]"]


class Bench:
    """A server in memory whose chat models say what the tests give them.

    Attributes:
        log: what the model ``slow`` did: ``begun``, ``ended``.
        ended: set once it has ended.
        gate: what the model ``gated`` waits for, behind its first word.
    """

    def __init__(self, **options: Any) -> None:
        timing = Timing(keepalive=15, grace=20, stall_timeout=30)
        self.server = Server(**{"timing": timing, **options})
        self.log: list[str] = []
        self.ended = trio.Event()
        self.gate = trio.Event()
        self.driver: Driver
        bench = self

        @self.server.chat_model("hello")
        def hello(_: list[ChatMessage]) -> ps.Stream[str]:
            return ps.from_iterable(["Hello", " you"])

        @ps.producer
        async def slowly(_: list[ChatMessage]) -> AsyncIterator[str]:
            bench.log.append("begun")
            try:
                for number in range(100):
                    await trio.sleep(3)
                    yield f"{number} "
            finally:
                bench.log.append("ended")
                bench.ended.set()

        self.server.chat_model("slow")(slowly)
        self.server.chat_model("far", detach=1000, max_running=2)(slowly)

        @self.server.chat_model("gated", detach=1000)
        @ps.producer
        async def gated(_: list[ChatMessage]) -> AsyncIterator[ChatDelta]:
            yield ChatDelta("first ")
            await bench.gate.wait()
            yield ChatDelta("second", finish_reason="length")

        @self.server.chat_model("fails")
        def fails(_: list[ChatMessage]) -> ps.Stream[str]:
            return ps.every(5, 3).map(lambda n: str(2 // (1 - n)))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Bench]:
        async with serving(self.server) as self.driver:
            yield self
            await trio.testing.wait_all_tasks_blocked()

    def ask(self, model: str, headers: dict[str, str] | None = None, **members: Any) -> Any:
        """The response to a chat completion, as it comes."""
        body = {"model": model, "messages": [USER], "stream": True, **members}
        return self.post(COMPLETIONS, body, headers)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.driver.request("POST", path, {**JSON_BODY, **(headers or {})}, content)

    async def answer(self, path: str, body: object, headers: dict[str, str] | None = None) -> Any:
        """The status and the decoded body of a whole answer."""
        async with self.post(path, body, headers) as response:
            return response.status, await response.json()


def data_of(body: bytes) -> list[Any]:
    """What the ``data:`` lines of a stream say; ``[DONE]`` as it is."""
    lines = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(chunks: list[Any]) -> str:
    """The text in a stream's chunks."""
    return "".join(
        chunk["choices"][0]["delta"].get("content", "")
        for chunk in chunks
        if chunk != "[DONE]" and chunk.get("choices")
    )
