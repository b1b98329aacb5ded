"""The messages between a run and its worker processes, and the notes that a worker shares.

A message is its length, in eight bytes, and that many bytes. Pure but for the sockets given in.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol

HEADER = struct.Struct("!Q")

SMALL = 1 << 16
"""Bytes up to which copying a message beside its header costs less than sending them apart."""

# The places in the array of numbers that a run and one worker share.
BEGUN = 0
"""How many groups the worker has taken."""
POSITION = 1
"""The item of the newest group that it is at; -1 before the first, their number after the last."""
STOP = 2
"""Not 0 once the run is over."""
NOTES = 3
"""How many places there are."""


class Notes(Protocol):
    """The array of numbers that a run and one worker share."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, number: int, /) -> None: ...


def receive(connection: socket.socket) -> bytearray | None:
    """The next message, in a blocking way; None where the other side has gone."""
    header = _exactly(connection, HEADER.size)
    return None if header is None else _exactly(connection, HEADER.unpack(header)[0])


def _exactly(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        try:
            received = connection.recv_into(view)
        except ConnectionError:
            return None
        if not received:
            return None
        view = view[received:]
    return data


async def receive_async(receive_into: Callable[[memoryview], Awaitable[int]]) -> bytearray | None:
    """The next message; None where the other side has gone. Cancelled, a part of it is lost."""
    header = await _exactly_async(receive_into, HEADER.size)
    if header is None:
        return None
    return await _exactly_async(receive_into, HEADER.unpack(header)[0])


async def _exactly_async(
    receive_into: Callable[[memoryview], Awaitable[int]], size: int
) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        try:
            received = await receive_into(view)
        except OSError:
            return None
        if not received:
            return None
        view = view[received:]
    return data
