"""A server that puts penstock streams on the web: SSE, NDJSON, MessagePack, WebSocket.

The layers, low to high::

    settings, wake, aside          what can be set; waiting; work that would hold up the loop
    log                            events with offsets, read through cursors
    encoding, bookmarks            values to bytes; where a restart goes on
    fanout                         one log to many connections
    topics, supervisor             what feeds a log, and keeps running
    hub, publishing, stats         a running server, its publications, what it says of itself
    transports                     SSE, NDJSON, MessagePack, long poll, WebSocket, POST
    app                            the ASGI application: wires it all; Quart beside it
    server, commands               what users declare; ``penstock serve``

Importing this package imports no web stack.
"""

from .encoding import Event
from .server import Server
from .settings import Limits, Timing
from .topics import Topic

__all__ = ["Event", "Limits", "Server", "Timing", "Topic"]
