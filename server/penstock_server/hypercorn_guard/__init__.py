"""Corrections of Hypercorn on Trio, for the versions they were checked on.

Hypercorn as released lets one peer hold up a shutdown, outgrow the memory or end the whole
process. Each correction is a subclass, put by :func:`install` in the place where Hypercorn looks
the class up, so it holds for ``hypercorn.trio.serve`` and for the command ``hypercorn -k trio``
alike. With a version that nobody checked, nothing is replaced.

The modules, low to high; each is about one thing:

- ``_events``: what the corrected parts tell each other beside Hypercorn's own events
- ``_admission``: how many connections there may be, in all and of one address
- ``_budget``: how much of what does nothing a peer may send
- ``_targets``: which targets are paths; which requests no application sees
- ``_context``: limits, and the news of a shutdown
- ``_inbox``: what waits for the application; a disconnect always fits
- ``_refusal``: the answer to a connection that is one too many
- ``_connection``: one transport: bounded in time and writes, its errors stay its own
- ``_http1``: bytes after a request don't hide a disconnect, and a target is a path
- ``_http2_buffer``, ``_http2``: flow control holds the application, never the reader
- ``_http2_peer``: floods, requests that make no sense, and GOAWAY that ends nothing
- ``_deflate``, ``_handshake``: compression only where it is asked for, and no bombs
- ``_message``, ``_websocket``: close codes, message limits, heartbeats
- ``_direct``: straight to the socket, beside Hypercorn
- ``_install``: the names replaced
"""

from penstock_server.hypercorn_guard._admission import ConnectionCounts
from penstock_server.hypercorn_guard._context import GuardedContext, context_of
from penstock_server.hypercorn_guard._direct import (
    DirectSocket,
    abort_soon,
    chunk_writer_of,
    direct_socket_of,
)
from penstock_server.hypercorn_guard._install import CHECKED, install
from penstock_server.hypercorn_guard._websocket import GuardedWebSocket, websocket_of

__all__ = [
    "CHECKED",
    "ConnectionCounts",
    "DirectSocket",
    "GuardedContext",
    "GuardedWebSocket",
    "abort_soon",
    "chunk_writer_of",
    "context_of",
    "direct_socket_of",
    "install",
    "websocket_of",
]
