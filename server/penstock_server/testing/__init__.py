"""Run a `Server` in a test: in memory, or over a real port.

- ``exchange``: an ASGI server's side of one request or WebSocket, in memory
- ``answer``, ``stream``, ``websocket``: what a test hears of it
- ``client``: what a test says to a server in memory
- ``port``: the server under Hypercorn, on a free port of the loopback interface

::

    async def test_a_message_arrives() -> None:
        async with testing.serve(server) as client, client.stream("chat") as events:
            await client.publish("chat", {"text": "hello"})
            event = await anext(events)
            assert event.data == {"text": "hello"}

A server object is run once, so a test makes its own. Everything is in the test's own Trio loop:
under pytest-trio a test is an async function, elsewhere ``trio.run(test)`` runs it. In memory the
clock may be Trio's ``MockClock`` with autojump; over a port it may not, because such a clock jumps
ahead whenever all tasks wait for the network, and so every time-out comes at once.
"""

from .answer import Response, UnexpectedAnswer
from .client import Client, serve
from .port import serve_on_port
from .stream import Events, Format, ReceivedEvent
from .websocket import Subprotocol, WebSocket

__all__ = [
    "Client",
    "Events",
    "Format",
    "ReceivedEvent",
    "Response",
    "Subprotocol",
    "UnexpectedAnswer",
    "WebSocket",
    "serve",
    "serve_on_port",
]
