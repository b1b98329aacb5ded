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
class StreamAborted(StreamEvent):
    """A stream wants to end at once, unsent data included."""
