"""A job as it is declared: a function from a request's body to the stream that answers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

import penstock as ps

from ..encoding import validate
from ..schemas import json_schema
from ..topics import Topic, checked_stream, line_of
from .options import JobOptions

T = TypeVar("T")

Function: TypeAlias = Callable[[T], "ps.Stream[Any]"] | Callable[[], "ps.Stream[Any]"]
"""What gives a run's stream, from the request's body or without it."""

_PRODUCER = "put @ps.producer between it and the job"

_FAILED = {
    "type": "about:blank",
    "title": "Job Failed",
    "status": 500,
    "detail": "The job failed; the server's log has the error.",
}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a run's log ends with.

    Attributes:
        last: what follows what its stream has yielded; encodable.
        problem: that it has failed, for its readers; None where it hasn't.
    """

    last: Sequence[object] = ()
    problem: dict[str, Any] | None = None


class Job(Generic[T]):
    """A job of a server. Made by `Server.job`, which says what the options mean.

    It is also the decorator of the function that gives a run's stream.

    Attributes:
        name: as clients know it.
        options: what it was declared with.
        where: the line that declares it.
        accepts: the type of a request's body; None for any value, or none.
    """

    def __init__(self, name: str, options: JobOptions, where: ps.Location | None) -> None:
        self.name = name
        self.options = options
        self.where = where
        self.accepts: type[T] | None = options.log.accepts
        self._function: Callable[..., ps.Stream[Any]] | None = None
        self._takes_body = True
        self._has_default = False

    def __repr__(self) -> str:
        return f"<Job {self.name}>"

    def __call__(self, function: Function[T]) -> Job[T]:
        """Declare the function that gives a run's stream; it is called with the request's body.

        It may do without the body: then it is called without it. Its parameter's default stands for
        an empty body, or ``null``. Raises `PipelineError` for what is no such function, and for a
        second one.
        """
        if self._function is not None:
            raise self._refusal("has a function already")
        if not callable(function):  # pyright: ignore[reportUnnecessaryComparison]
            raise self._refusal(f"decorates a function, not {function!r}")
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise self._refusal(f"its function is a generator, and gives no Stream; {_PRODUCER}")
        if inspect.iscoroutinefunction(function):
            raise self._refusal(f"its function is async, and gives no Stream; {_PRODUCER}")
        self._look_at_parameters(function)
        self._function = function
        return self

    def _look_at_parameters(self, function: Callable[..., Any]) -> None:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return  # a callable that doesn't say what it takes
        positional = [
            each
            for each in parameters
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL)
        ]
        required = [
            each
            for each in parameters
            if each.default is each.empty
            and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        ]
        if len(required) > 1 or not all(each in positional for each in required):
            names = ", ".join(each.name for each in required)
            problem = "its function gets the request's body, and nothing else"
            raise self._refusal(f"{problem}, but needs {names}")
        self._takes_body = bool(positional)
        self._has_default = bool(positional) and not required

    def refuse(self) -> NoReturn:
        """Raise `PipelineError` because it has no function."""
        raise self._refusal("has no function; decorate the one that gives a run's stream with it")

    def _refusal(self, problem: str) -> ps.PipelineError:
        return ps.PipelineError(f"job {self.name!r}", problem, self.where)

    @property
    def is_declared(self) -> bool:
        """Whether it has its function."""
        return self._function is not None

    @property
    def schema(self) -> dict[str, Any] | None:
        """JSON Schema of the body; None for any value."""
        return None if self.accepts is None else json_schema(self.accepts)

    def body(self, value: object) -> object:
        """A request's value as the function takes it; None for the parameter's default.

        Raises `Invalid` with the field's path.
        """
        if value is None and self._has_default:
            return None
        return validate(value, self.accepts, "json")

    def stream(self, body: object) -> ps.Stream[Any]:
        """The stream of a run with this body, which `body` gave.

        Raises `PipelineError` where the function gives none, and whatever else it raises.
        """
        function = self._function
        if function is None:
            self.refuse()
        without = not self._takes_body or (body is None and self._has_default)
        given: object = function() if without else function(body)
        where = line_of(function) or self.where
        return checked_stream(given, "job", self.name, where)

    def pipeline(self, topic: Topic[Any], body: object) -> ps.Pipeline[None]:
        """The pipeline of a run with this body, which fills this log. Raises what `stream` does."""
        return topic.into_log(self.stream(body))

    def conclude(self, body: object, error: Exception | None) -> Conclusion:
        """How a run with this body ends whose stream has ended, or failed with `error`.

        Must not raise.
        """
        return Conclusion(problem=None if error is None else _FAILED)
