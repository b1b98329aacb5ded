"""The news of a shutdown reaches who asked for it."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import pytest

from penstock_server.hypercorn_guard import (
    GuardedContext,
    context_of,
)
from penstock_server.hypercorn_guard._context import TerminationEvent

from .applications import START, Message, Receive, Send, body, receive_disconnect
from .serving import GRACE, both, get, happens, hypercorn_classes, read_until, serving


@both
async def test_the_application_hears_of_a_shutdown_at_once(kind: str) -> None:
    heard: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        if (context := context_of(send)) is not None:
            context.on_terminated(append)
            context.on_terminated(append)
        await send(body(b"!", more=True))
        try:
            await receive_disconnect(receive)
        finally:
            heard.append("over")

    def append() -> None:
        heard.append("terminated")

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            client = await server.connect()
            await client.send_all(get())
            await read_until(client, b"!\r\n")
            server.stop.set()
            assert await happens(lambda: bool(heard), GRACE / 2) == (kind == "guarded")
            await server.ended.wait()
            assert heard == (["terminated", "over"] if kind == "guarded" else ["over"])


async def test_who_registers_after_the_shutdown_is_called_at_once() -> None:
    context = GuardedContext(None)
    calls: list[int] = []
    assert not context.is_terminated
    await context.terminated.set()
    await context.terminated.set()

    context.on_terminated(lambda: calls.append(1))

    assert context.is_terminated
    assert calls == [1]


async def test_a_failing_callback_keeps_none_of_the_others_from_being_called() -> None:
    context = GuardedContext(None)
    calls: list[int] = []

    def fail() -> None:
        raise ValueError

    context.on_terminated(fail)
    context.on_terminated(lambda: calls.append(1))
    with pytest.RaisesGroup(ValueError):
        await context.terminated.set()

    assert isinstance(context.terminated, TerminationEvent)
    assert context.is_terminated
    assert calls == [1]
