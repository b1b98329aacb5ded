"""Corrections of Hypercorn on Trio, for the versions they were checked on.

Hypercorn as released lets one peer hold up a shutdown, outgrow the memory or end the whole
process. Each correction is a subclass, put by :func:`install` in the place where Hypercorn looks
the class up, so it holds for ``hypercorn.trio.serve`` and for the command ``hypercorn -k trio``
alike. With a version that nobody checked, nothing is replaced.

The modules, low to high; each is about one thing:

- ``_events``: what the corrected parts tell each other beside Hypercorn's own events
- ``_context``: time limits of writes, and the news of a shutdown
- ``_inbox``: what waits for the application; a disconnect always fits
- ``_connection``: one transport: bounded writes, no lingering, its errors stay its own
- ``_http1``: bytes after a request don't hide a disconnect
- ``_http2``: flow control holds the application, never the reader
- ``_websocket``: close codes, message limits, heartbeats
- ``_install``: the names replaced
"""

from penstock_server.hypercorn_guard._context import GuardedContext, context_of
from penstock_server.hypercorn_guard._install import CHECKED, install
from penstock_server.hypercorn_guard._websocket import GuardedWebSocket, websocket_of

__all__ = [
    "CHECKED",
    "GuardedContext",
    "GuardedWebSocket",
    "context_of",
    "install",
    "websocket_of",
]
