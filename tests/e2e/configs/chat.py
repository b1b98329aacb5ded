"""Chat models for the tests of their clients; the topic ``ended`` says which of them have ended."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import trio

import penstock as ps
from penstock.net import UpstreamError
from penstock.wire import ChatDelta, ChatMessage, ToolCallDelta, Usage
from penstock_server import ApiKeys, Grant, Limits, Server, Timing

KEY = "a-key-for-the-tests-0123456789abcdef"

auth = ApiKeys({KEY: Grant("tests", jobs=("echo", "slow"))}) if "TEST_KEYS" in os.environ else None
server = Server(
    auth=auth,
    cors=["https://friend.example"],
    limits=Limits(max_message_bytes=100_000),
    timing=Timing(keepalive=0.5, grace=3, stall_timeout=5),
)
ended = server.topic("ended")


@ps.producer
async def count_slowly(name: str, to: int, pause: float) -> AsyncIterator[str]:
    try:
        for number in range(to):
            yield f"{number} "
            await trio.sleep(pause)
    finally:
        with trio.CancelScope(shield=True):
            await ended.publish(name)


@server.chat_model("echo")
@ps.producer
async def echo(messages: Sequence[ChatMessage]) -> AsyncIterator[ChatDelta | str]:
    words = messages[-1].text.split()
    for word in words:
        yield f"{word} "
        await trio.sleep(0.001)
    yield ChatDelta(finish_reason="stop", usage=Usage(len(messages), len(words)))


@server.chat_model("slow")
def slow(messages: Sequence[ChatMessage]) -> ps.Stream[str]:
    return count_slowly("slow", 10_000, 0.02)


class Gate:
    """Holds the answers of ``lasting`` up in their middle, until it is opened for them."""

    def __init__(self) -> None:
        self.opened = trio.Event()

    def open(self) -> None:
        self.opened.set()
        self.opened = trio.Event()


gate = Gate()


@server.chat_model("lasting", detach=60)
@ps.producer
async def lasting(messages: Sequence[ChatMessage]) -> AsyncIterator[str]:
    for number in range(50):
        if number == 20:
            await gate.opened.wait()
        yield f"{number} "


@server.chat_model("single", max_running=1)
def single(messages: Sequence[ChatMessage]) -> ps.Stream[str]:
    return count_slowly("single", 10_000, 0.05)


@server.chat_model("tools")
def tools(messages: Sequence[ChatMessage], parameters: Mapping[str, Any]) -> ps.Stream[ChatDelta]:
    name = parameters["tools"][0]["function"]["name"]
    return ps.from_iterable(
        [
            ChatDelta(reasoning="hm, "),
            ChatDelta(reasoning="a tool"),
            ChatDelta(text="I look."),
            ChatDelta(tool_calls=[ToolCallDelta(0, "call_a", name, "")]),
            ChatDelta(tool_calls=[ToolCallDelta(0, arguments='{"city":')]),
            ChatDelta(tool_calls=[ToolCallDelta(0, arguments='"Ulm"}')]),
            ChatDelta(tool_calls=[ToolCallDelta(1, name=name, arguments='{"city":"Graz"}')]),
            ChatDelta(usage=Usage(7, 9)),
        ]
    )


@server.chat_model("parameters")
def told(messages: Sequence[ChatMessage], parameters: Mapping[str, Any]) -> ps.Stream[str]:
    said = {"messages": messages, "parameters": parameters}
    return ps.from_iterable([msgspec.json.encode(said).decode()])


@server.chat_model("broken")
def broken(messages: Sequence[ChatMessage]) -> ps.Stream[str]:
    raise RuntimeError("the password is hunter2")


@server.chat_model("breaks")
@ps.producer
async def breaks(messages: Sequence[ChatMessage]) -> AsyncIterator[str]:
    yield "So far"
    await trio.sleep(0.05)
    raise RuntimeError("the password is hunter2")


@server.chat_model("upstream")
@ps.producer
async def upstream(messages: Sequence[ChatMessage]) -> AsyncIterator[str]:
    if len(messages) > 1:
        yield "So far"
    raise UpstreamError("https://internal.example answered 401: the key sk-12 is no good", 401)


@server.app.post("/open")
async def open_gate() -> str:
    gate.open()
    return "open"
