"""Events between the corrected parts, beside those of Hypercorn."""

from dataclasses import dataclass

from hypercorn.events import Event
from hypercorn.protocol.events import Event as StreamEvent


@dataclass(frozen=True)
class PipelinedInput(Event):
    """A protocol can parse on: input received earlier has become readable."""


@dataclass(frozen=True)
class TransportAborted(Event):
    """A protocol wants its transport dropped at once, unsent data included."""


@dataclass(frozen=True)
class HeadExpected(Event):
    """A protocol waits for the begin of its conversation, for ``header_timeout``."""


@dataclass(frozen=True)
class HeadTimedOut(Event):
    """The transport ends because a request head was not whole in time."""


@dataclass(frozen=True)
class GoingAway(Event):
    """The transport, which is idle, is about to be closed."""


@dataclass(frozen=True)
class StreamAborted(StreamEvent):
    """A stream wants to end at once, unsent data included."""
