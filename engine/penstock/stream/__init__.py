"""The typed face of the engine: `Stream` and `Pipeline`, both immutable descriptions."""

from .keyed import KeyedStream
from .pipeline import Pipeline, gather, run
from .splitting import Partition
from .stream import Stream, join_streams
from .windowed import WindowedStream

__all__ = [
    "KeyedStream",
    "Partition",
    "Pipeline",
    "Stream",
    "WindowedStream",
    "gather",
    "join_streams",
    "run",
]
