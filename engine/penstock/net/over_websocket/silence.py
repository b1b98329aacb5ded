"""When a silent connection is a dead one. Pure arithmetic, in seconds.

A server of ours pings every `heartbeat` (which is a byte or two, and counts), another ASGI server
may not, so a client that has heard nothing for a while asks by a message, which every server of
the protocol answers. One that says nothing then either has gone, or its network has.
"""

from __future__ import annotations

from typing import Literal

_LEAST, _MOST = 0.4, 60.0
"""Bounds of a heartbeat, so that no server makes its clients ask all the time, or never."""


class Silence:
    """How long to listen to a server with that `heartbeat`."""

    def __init__(self, heartbeat: float) -> None:
        self.heartbeat = min(max(heartbeat, _LEAST), _MOST) if heartbeat == heartbeat else _MOST

    @property
    def ask_after(self) -> float:
        """Silence after which to ask: a ping of the server's, and time for it to be late."""
        return 1.5 * self.heartbeat

    @property
    def dead_after(self) -> float:
        """Silence after which nobody is there: a heartbeat longer than the answer would need."""
        return 2.5 * self.heartbeat

    def verdict(self, quiet: float) -> tuple[Literal["well", "ask", "dead"], float]:
        """What a silence of `quiet` seconds means, and after how many more to look again."""
        if quiet < self.ask_after:
            return "well", self.ask_after - quiet
        if quiet < self.dead_after:
            return "ask", self.dead_after - quiet
        return "dead", 0.0
