"""What a worker process does: it takes groups of items, calls the function, sends the results.

It ends when the run's side of the connection has gone. Between two items it looks whether the run
is over, or its process dead; a call that is running it doesn't break off.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import process_time
from typing import Any

from . import frames
from .calls import call_each, pickled, portable
from .frames import BEGUN, HEADER, POSITION, SMALL, STOP, Notes

if sys.platform != "win32":
    import resource


class _Over(Exception):
    """The run is over."""


def serve(
    connection: socket.socket, notes: Notes, parent: int, function: bytes, stop_at_failure: bool
) -> None:
    """The main function of a worker process.

    It sends an empty message when it is ready, then for each group that comes a pickled `Outcome`.
    Where the function or the group can't be unpickled, it sends the error instead.
    """
    _prepare(connection)
    with connection, suppress(_Over, ConnectionError):
        try:
            f = pickle.loads(function)  # noqa: S301 - made by the parent
        except Exception as error:  # noqa: BLE001 - importing may raise anything
            _send(connection, pickle.dumps(portable(error)))
            return
        _send(connection, b"")
        while (group := frames.receive(connection)) is not None:
            notes[POSITION] = -1
            notes[BEGUN] += 1
            _send(connection, _answer(f, group, notes, parent, stop_at_failure))


def _prepare(connection: socket.socket) -> None:
    """Ctrl-C is the parent's business; and a child of this one must not keep the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=connection.close)


def _answer(
    f: Callable[[Any], Any], group: bytearray, notes: Notes, parent: int, stop_at_failure: bool
) -> bytes:
    try:
        items = pickle.loads(group)  # noqa: S301 - made by the parent
    except Exception as error:  # noqa: BLE001 - __setstate__ may do anything
        return pickle.dumps(portable(error))

    def go_on(position: int) -> None:
        if notes[STOP] or os.getppid() != parent:
            raise _Over
        notes[POSITION] = position

    waits, worked = _waits(), process_time()
    outcome = call_each(f, items, go_on, stop_at_failure=stop_at_failure)
    notes[POSITION] = len(items)
    if waits is not None and _waits() == waits:
        outcome = replace(outcome, seconds=process_time() - worked)
    return pickled(outcome)


def _waits() -> int | None:
    """How often this process gave up the processor by itself, where that is known.

    Between two moments in which it never did, its own time is what it worked: in the rest it had to
    leave the processor to others, and smaller groups would make a busy machine busier.
    """
    if sys.platform == "win32":
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _send(connection: socket.socket, message: bytes) -> None:
    header = HEADER.pack(len(message))
    if len(message) <= SMALL:
        connection.sendall(header + message)
    else:
        connection.sendall(header)
        connection.sendall(message)
