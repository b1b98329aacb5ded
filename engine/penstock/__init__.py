"""Structured-concurrency streams on Trio.

The layers, low to high; a module knows only those above it in this list::

    _errors              what can go wrong
    _spec                frozen descriptions of stages     _stats   frozen snapshots
    _options, _pace, _overflow, _channel, wire             checks, pacing, the channel, the wire
    _plan, _graph        stages to tasks (fusion)          transforms, sinks   the operators' work
    _outlet, _segment, _run, _measure                      tasks to a run, and what is seen of it
    stream               Stream and Pipeline, the typed face
    producers            functions that give a Stream
    net, config          clients; config files
    cli, _commands       the command line
"""

from ._backoff import Backoff
from ._errors import BufferOverflow, Location, PenstockError, PipelineError, StageError
from ._graph import Graph
from ._run import Run, RunStopped
from ._spec import Receiver, Sender, Sink
from ._spec import caller as caller_location
from ._stats import BufferStats, Report, RunStats, StageStats
from .producers.clock import every
from .producers.combine import merge
from .producers.custom import producer, sink, transform
from .producers.files import read_jsonl, read_lines
from .producers.iterables import from_async, from_channel, from_iterable
from .sinks.calls import for_each
from .sinks.channels import to_channel
from .sinks.files import write_jsonl, write_lines
from .sinks.memory import collect, count, drain, fold
from .stream import Pipeline, Stream, run

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "BufferOverflow",
    "BufferStats",
    "Graph",
    "Location",
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
    "caller_location",
    "collect",
    "count",
    "drain",
    "every",
    "fold",
    "for_each",
    "from_async",
    "from_channel",
    "from_iterable",
    "merge",
    "producer",
    "read_jsonl",
    "read_lines",
    "run",
    "sink",
    "to_channel",
    "transform",
    "write_jsonl",
    "write_lines",
]
