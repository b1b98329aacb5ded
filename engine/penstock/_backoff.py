"""How long to wait before trying again: exponential backoff with full jitter. Pure.

Full jitter draws each wait from the whole range up to the exponential bound, which spreads clients
that failed together best (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

from ._errors import PenstockError


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds that grow from `initial` by `factor` up to `maximum`.

    With `jitter`, each is drawn at random from 0 up to that bound.
    """

    initial: float = 0.5
    maximum: float = 30.0
    factor: float = 2.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.initial <= self.maximum:
            raise PenstockError("Backoff: initial must be above 0 and at most maximum")
        if self.factor < 1:
            raise PenstockError("Backoff: factor must be at least 1")

    def bound(self, failures: int) -> float:
        """The longest wait after `failures` earlier failures in a row."""
        try:
            return min(self.maximum, self.initial * self.factor**failures)
        except OverflowError:
            return self.maximum

    def delay(self, failures: int, chance: float) -> float:
        """The wait; `chance`, a random number from 0 to 1, is given in, so that this is pure."""
        bound = self.bound(failures)
        return bound * chance if self.jitter else bound
