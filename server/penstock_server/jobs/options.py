"""What ``Server.job(…)`` can be told, checked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import penstock as ps

from ..options import TopicOptions, is_time
from ..settings import MIB, Retention

JOB_RETENTION = Retention(events=10_000, bytes=4 * MIB)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of one job; `Server.job` says what they mean.

    Attributes:
        log: those that each run's log has in common with a topic's.
        detach: seconds for which a run goes on without a reader; infinity for as long as it takes.
        keep: seconds for which the log of a finished run is kept.
        max_running: the most runs at a time.
    """

    log: TopicOptions = field(
        default_factory=lambda: TopicOptions(retention=JOB_RETENTION, slow="block")
    )
    detach: float = 0.0
    keep: float = 300.0
    max_running: int = 100

    def checked(self, name: str, where: ps.Location | None) -> JobOptions:
        """Itself, once every option makes sense. Raises `PipelineError`, naming the option."""
        refuse = partial(ps.PipelineError, f"job {name!r}", where=where)
        self.log.checked(f"job {name!r}", where)
        if not is_time(self.detach, zero=True):
            problem = "detach must be a number of seconds, not negative, or None"
            raise refuse(f"{problem}, got {self.detach!r}")
        if not is_time(self.keep, zero=True):
            raise refuse(f"keep must be a number of seconds, not negative, got {self.keep!r}")
        number: Any = self.max_running
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise refuse(f"max_running must be a whole number of at least 1, got {number!r}")
        return self
