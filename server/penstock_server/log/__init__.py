"""The log: an append-only sequence of events, kept for a bounded time, read through cursors.

`Log` is the interface that topics and readers know; `memory.MemoryLog` keeps it in memory. What is
stored is bytes, encoded once for each codec, so a log never holds an object that its producer may
still change, and a log on disk can be the same.
"""

from .interface import Bounds, EncodedEvent, Log, StoredEvent, Trimmed
from .memory import MemoryLog
from .position import Start, gap_to_oldest, resolve

__all__ = [
    "Bounds",
    "EncodedEvent",
    "Log",
    "MemoryLog",
    "Start",
    "StoredEvent",
    "Trimmed",
    "gap_to_oldest",
    "resolve",
]
