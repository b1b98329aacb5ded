"""What ``Server.topic(…)`` can be told, checked. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import penstock as ps

from .encoding import Encoding
from .fanout import Slow
from .keys import Key, fields_of
from .schemas import check_accepts
from .settings import Retention

StartMode: TypeAlias = Literal["eager", "demand"]
"""When a topic's pipeline starts: with the server, or with its first subscriber."""


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """The options of one topic, or of all topics of a template; `Server.topic` says what they mean.

    Raises `PipelineError` through `checked`, which names the option.
    """

    accepts: Any = None
    encoding: Encoding = "json"
    retention: Retention = field(default_factory=Retention)
    key: Key | None = None
    slow: Slow = "skip"
    max_lag: int = 1000
    stall_timeout: float | None = None
    batch: int = 1000
    start: StartMode = "eager"
    demand_grace: float = 5.0
    idle: float = 60.0
    max_instances: int = 1000

    def checked(self, stage: str, where: ps.Location | None) -> TopicOptions:
        """Itself, once every option makes sense. Raises `PipelineError`, naming the option.

        `stage` is what errors call it (``topic 'cpu'``).
        """
        refuse = partial(ps.PipelineError, stage, where=where)
        for option, value in self._whole_numbers():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise refuse(f"{option} must be a whole number of at least 1, got {value!r}")
        for option, value, zero, unset in self._seconds():
            if not (value is None and unset) and not is_time(value, zero=zero):
                wanted = "not negative" if zero else "above 0"
                raise refuse(f"{option} must be a number of seconds {wanted}, got {value!r}")
        for option, value, choices in self._choices():
            if not isinstance(value, str) or value not in choices:
                raise refuse(f"{option} must be {_either(choices)}, got {value!r}")
        if self.accepts is not None:
            check_accepts(stage, self.accepts, where)
        problem = self._wrong_key()
        if problem is not None:
            raise refuse(problem)
        return self

    def _whole_numbers(self) -> list[tuple[str, Any]]:
        return [
            ("retain", self.retention.events),
            ("retain_bytes", self.retention.bytes),
            ("max_lag", self.max_lag),
            ("batch", self.batch),
            ("max_instances", self.max_instances),
        ]

    def _seconds(self) -> list[tuple[str, Any, bool, bool]]:
        """Option, value, whether it may be zero, and whether it may be None."""
        return [
            ("retain_seconds", self.retention.seconds, False, True),
            ("stall_timeout", self.stall_timeout, False, True),
            ("idle", self.idle, False, False),
            ("demand_grace", self.demand_grace, True, False),
        ]

    def _choices(self) -> list[tuple[str, Any, Collection[str]]]:
        return [
            ("encoding", self.encoding, get_args(Encoding)),
            ("slow", self.slow, get_args(Slow)),
            ("start", self.start, get_args(StartMode)),
        ]

    def _wrong_key(self) -> str | None:
        key: object = self.key
        if key is None or callable(key):
            return None
        if not isinstance(key, str) or not key:
            return f"key must be a field's name or a function of the data, got {key!r}"
        fields = None if self.accepts is None else fields_of(self.accepts)
        if fields is not None and key not in fields:
            return f"key={key!r} is no field of what it accepts, which has {', '.join(fields)}"
        return None


def is_time(value: Any, *, zero: bool) -> bool:
    """Whether this is a number of seconds above 0; with `zero`, 0 is one, too."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (value > 0 or (zero and value == 0))


def _either(choices: Collection[str]) -> str:
    *rest, last = map(repr, choices)
    return f"{', '.join(rest)} or {last}"
