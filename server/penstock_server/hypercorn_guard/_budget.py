"""How much of what does nothing a peer may send: pings, settings, resets."""

import trio

BURST = 1_000
PER_SECOND = 200.0


class Budget:
    """A token bucket, full at first.

    Control frames cost the sender next to nothing and the server a parse and an answer each.
    Clients send a few a second, even those that measure the connection by pings.
    """

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = trio.current_time()

    def spend(self) -> bool:
        """Take one; False where nothing was left."""
        if self._left < 1:
            now = trio.current_time()
            self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
            self._at = now
            if self._left < 1:
                return False
        self._left -= 1
        return True
