"""What a server's settings mean for the connections that the guarded Hypercorn takes."""

from __future__ import annotations

from .hub import Hub
from .hypercorn_guard import GuardedContext

_LATER = 1.0
"""Seconds. Who reads a topic is dropped, and counted as stalled, by `Connections`, which looks
often; the guard is for all else, and would otherwise be a moment earlier.
"""


def limit_connections(hub: Hub, context: GuardedContext) -> None:
    """Set the limits of connections; they hold for what starts afterwards."""
    context.stall_timeout = hub.timing.stall_timeout + _LATER
    context.header_timeout = hub.limits.header_timeout
    context.max_connections = hub.limits.max_connections
    context.max_connections_per_address = hub.limits.max_connections_per_address
    context.accepts_deflate = hub.websocket_compression
