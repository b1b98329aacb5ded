"""The names in Hypercorn's modules that stand for corrected classes once installed."""

import logging
from importlib.metadata import version
from types import ModuleType
from typing import Final

import hypercorn.protocol
import hypercorn.protocol.h2
import hypercorn.protocol.h11
import hypercorn.protocol.ws_stream
import hypercorn.trio.run
import hypercorn.trio.tcp_server

from penstock_server.hypercorn_guard._connection import GuardedTCPServer
from penstock_server.hypercorn_guard._context import GuardedContext
from penstock_server.hypercorn_guard._handshake import GuardedHandshake
from penstock_server.hypercorn_guard._http1 import GuardedH11Protocol
from penstock_server.hypercorn_guard._http2_buffer import GuardedStreamBuffer
from penstock_server.hypercorn_guard._http2_peer import GuardedH2Protocol
from penstock_server.hypercorn_guard._inbox import GuardedTaskGroup
from penstock_server.hypercorn_guard._websocket import GuardedWebSocket

CHECKED: Final = ("0.18.0",)
"""Hypercorn's versions for which the tests reproduce the faults and show them corrected."""

# Where Hypercorn looks a class up when it needs it, and our subclass of what stands there.
_REPLACED: Final[tuple[tuple[ModuleType, str, type], ...]] = (
    (hypercorn.trio.run, "TCPServer", GuardedTCPServer),
    (hypercorn.trio.run, "WorkerContext", GuardedContext),
    (hypercorn.trio.tcp_server, "TaskGroup", GuardedTaskGroup),
    (hypercorn.protocol, "H11Protocol", GuardedH11Protocol),
    (hypercorn.protocol, "H2Protocol", GuardedH2Protocol),
    (hypercorn.protocol.h11, "WSStream", GuardedWebSocket),
    (hypercorn.protocol.h2, "WSStream", GuardedWebSocket),
    (hypercorn.protocol.h2, "StreamBuffer", GuardedStreamBuffer),
    (hypercorn.protocol.ws_stream, "Handshake", GuardedHandshake),
)


def install() -> bool:
    """Put the corrected classes in the place of Hypercorn's, for this process.

    To be called before a server starts, at the latest while its application is imported; later
    calls change nothing. Meant for servers on Trio. Returns False, with nothing replaced, where the
    installed version of Hypercorn isn't among ``CHECKED``.
    """
    return _install_on(version("hypercorn"))


def _install_on(hypercorn_version: str) -> bool:
    if hypercorn_version not in CHECKED:
        return False
    for module, name, guarded in _REPLACED:
        setattr(module, name, guarded)
    # At DEBUG it writes the value of every header of HTTP/2, and so tokens and cookies.
    logging.getLogger("hpack").setLevel(logging.INFO)
    return True


def _uninstall() -> None:  # pyright: ignore[reportUnusedFunction] # used by the tests
    """Give the names back to Hypercorn's classes; the tests reproduce the faults so."""
    for module, name, guarded in _REPLACED:
        setattr(module, name, _plain(guarded))


def _plain(guarded: type) -> type:
    """Hypercorn's class behind one of ours, which may be made in two steps."""
    return next(each for each in guarded.__mro__ if each.__module__.startswith("hypercorn."))
