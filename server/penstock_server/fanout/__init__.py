"""One log to many connections: each event is framed once, the same bytes go to all of them.

- ``piece``: framed events as one write, in the forms that connections need it
- ``feed``: the events of one log in one framing
- ``reader``: one connection's position, and what happens when it falls behind
- ``lane``: connections at the same position, written to straight away
- ``delivery``: all readers of one topic; the task that serves them when something was appended
"""

from .delivery import Delivery, Waker
from .feed import PIECE_BYTES, PIECE_EVENTS, Feed, Framing
from .lane import LANE_READERS, Lane, Sink
from .piece import Form, Piece
from .policy import Slow, milder_or_same
from .reader import Reader

__all__ = [
    "LANE_READERS",
    "PIECE_BYTES",
    "PIECE_EVENTS",
    "Delivery",
    "Feed",
    "Form",
    "Framing",
    "Lane",
    "Piece",
    "Reader",
    "Sink",
    "Slow",
    "Waker",
    "milder_or_same",
]
