"""Structured-concurrency streams on Trio.

The layers, low to high; a module knows only those above it in this list::

    _errors              what can go wrong                 _waiting_clock   when items are idle
    _spec                frozen descriptions of stages     _stats   frozen snapshots
    _options, _pace, _overflow, _channel, wire             checks, pacing, the channel, the wire
    _failing             what becomes of an item that a function failed on
    _extras, _compression                                  what extras bring; .gz and .zst
    _meeting             whether branches that meet again could wait for each other for ever
    _plan, _graph, _findings  stages to tasks (fusion)     transforms, sinks   the operators' work
    _probe, _outlet, _segment, _publishing, _run           tasks to a run
    _watchdog, _ledger, _measure                           what is seen of it
    stream               Stream and Pipeline, the typed face
    producers            functions that give a Stream
    net, config          clients; config files             testing   for the tests of users
    cli, _commands       the command line
"""

from ._backoff import Backoff
from ._errors import (
    AsyncMismatch,
    BufferOverflow,
    Location,
    PenstockError,
    PipelineError,
    StageError,
)
from ._failing import DeadLetter, dead_letter, retry
from ._findings import Finding
from ._graph import Graph
from ._run import Run, RunStopped
from ._spec import Receiver, Sender, Sink
from ._spec import caller as caller_location
from ._stats import BufferStats, Report, RunStats, StageStats
from ._watchdog import Watchdog
from .producers.clock import every
from .producers.combine import concat, interleave, merge, merge_sorted
from .producers.custom import producer, sink, transform
from .producers.following import follow
from .producers.iterables import from_async, from_channel, from_iterable
from .producers.lines import read_jsonl, read_lines
from .producers.packed import read_msgpack
from .producers.parquet import read_parquet
from .producers.processes import subprocess_lines
from .producers.standard_input import stdin_lines
from .producers.tables import read_csv
from .producers.tuples import combine_latest, zip  # noqa: A004 - as the field calls it
from .sinks.calls import for_each
from .sinks.channels import to_channel
from .sinks.folding import fold
from .sinks.lines import write_jsonl, write_lines
from .sinks.memory import EmptyStream, collect, count, drain, first, last
from .sinks.packed import write_msgpack
from .sinks.parquet import write_parquet
from .sinks.tables import write_csv
from .stream import KeyedStream, Partition, Pipeline, Stream, WindowedStream, gather, run
from .transforms.restarting import TooManyRestarts
from .transforms.windows.window import Window, by_count, session, sliding, tumbling

__version__ = "0.1.0"

__all__ = [
    "AsyncMismatch",
    "Backoff",
    "BufferOverflow",
    "BufferStats",
    "DeadLetter",
    "EmptyStream",
    "Finding",
    "Graph",
    "KeyedStream",
    "Location",
    "Partition",
    "PenstockError",
    "Pipeline",
    "PipelineError",
    "Receiver",
    "Report",
    "Run",
    "RunStats",
    "RunStopped",
    "Sender",
    "Sink",
    "StageError",
    "StageStats",
    "Stream",
    "TooManyRestarts",
    "Watchdog",
    "Window",
    "WindowedStream",
    "by_count",
    "caller_location",
    "collect",
    "combine_latest",
    "concat",
    "count",
    "dead_letter",
    "drain",
    "every",
    "first",
    "fold",
    "follow",
    "for_each",
    "from_async",
    "from_channel",
    "from_iterable",
    "gather",
    "interleave",
    "last",
    "merge",
    "merge_sorted",
    "producer",
    "read_csv",
    "read_jsonl",
    "read_lines",
    "read_msgpack",
    "read_parquet",
    "retry",
    "run",
    "session",
    "sink",
    "sliding",
    "stdin_lines",
    "subprocess_lines",
    "to_channel",
    "transform",
    "tumbling",
    "write_csv",
    "write_jsonl",
    "write_lines",
    "write_msgpack",
    "write_parquet",
    "zip",
]
