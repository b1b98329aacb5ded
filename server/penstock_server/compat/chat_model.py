"""A chat model as it is declared: a function from messages to a stream, as a job."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import penstock as ps
from penstock.wire import ChatDelta

from ..jobs import Conclusion, Job, JobOptions
from ..options import TopicOptions
from ..settings import MIB, Retention
from ..topics import Topic, checked_stream, line_of
from .deltas import Answer, AnswerFull, encode_delta
from .requests import ChatRequest

logger = logging.getLogger("penstock.jobs")

ChatFunction: TypeAlias = Callable[..., "ps.Stream[str] | ps.Stream[ChatDelta] | ps.Stream[Any]"]
"""What answers: called with the messages and the parameters, or with the messages alone."""

# A log that holds a whole answer is never trimmed, so none of its readers has a gap. This is what
# it takes at most for a byte of text (six for a control character in JSON, one in MessagePack), the
# tool calls being said twice, and for what is around a piece.
_LOG_BYTES_A_BYTE = 2 * 7
_LOG_BYTES_A_DELTA = 512

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_PROBLEM = {"type": "about:blank"}
_TOO_LONG = "context_length_exceeded"
_CONVERSATION_TOO_LONG = _PROBLEM | {
    "title": "Conversation Too Long",
    "status": 400,
    "detail": "The conversation is longer than the model takes; shorten it.",
    "code": _TOO_LONG,
}
_UPSTREAM_FAILED = _PROBLEM | {
    "title": "Upstream Failed",
    "status": 502,
    "detail": "The model is behind another server, which failed; try again later.",
    "code": "upstream_error",
}


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """The options of one chat model; `Server.chat_model` says what they mean.

    Attributes:
        detach, keep, max_running, stall_timeout: as a job's.
        max_deltas: the most pieces that an answer may have.
        max_bytes: the most bytes of UTF-8 in an answer.
    """

    detach: float = 0.0
    keep: float = 300.0
    max_running: int = 100
    stall_timeout: float | None = None
    max_deltas: int = 50_000
    max_bytes: int = MIB

    def checked(self, name: str, where: ps.Location | None) -> JobOptions:
        """Those of the job, once every option makes sense. Raises `PipelineError`."""
        for option in ("max_deltas", "max_bytes"):
            value: Any = getattr(self, option)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                problem = f"{option} must be a whole number of at least 1, got {value!r}"
                raise ps.PipelineError(f"chat model {name!r}", problem, where)
        size = _LOG_BYTES_A_BYTE * self.max_bytes + _LOG_BYTES_A_DELTA * self.max_deltas
        log = TopicOptions(
            accepts=ChatRequest,
            retention=Retention(self.max_deltas + 1, size + _LOG_BYTES_A_DELTA),
            stall_timeout=self.stall_timeout,
        )
        return JobOptions(log, self.detach, self.keep, self.max_running)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one run is about.

    Attributes:
        request: what is asked.
        answer: what is answered, as far as it has come.
    """

    request: ChatRequest = field(repr=False)
    answer: Answer = field(repr=False)


class ChatModel(Job[ChatRequest]):
    """A chat model of a server. Made by `Server.chat_model`, which says what the options mean.

    It is also the decorator of the function that answers. And it is a job, whose runs are answers.
    """

    def __init__(
        self, name: str, options: JobOptions, limits: ChatOptions, where: ps.Location | None
    ) -> None:
        super().__init__(name, options, where)
        self._limits = limits
        self._arguments = 2

    def __repr__(self) -> str:
        return f"<ChatModel {self.name}>"

    def __call__(self, function: ChatFunction) -> ChatModel:
        """Declare the function that answers: it gives a Stream of str, or of `ChatDelta`.

        It is called with the messages and the parameters, or with the messages alone where it takes
        no more. Raises `PipelineError` for what is no such function, and for a second one.
        """
        super().__call__(function)
        return self

    def _look_at_parameters(self, function: Callable[..., Any]) -> None:
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return  # a callable that doesn't say what it takes
        parameters = list(signature.parameters.values())
        required = [
            each for each in parameters if each.default is each.empty and each.kind not in _MANY
        ]
        taken = [each for each in parameters if each.kind in _POSITIONAL]
        many = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        if not (taken or many) or any(each not in taken[:2] for each in required):
            problem = "its function gets the messages and the parameters, or the messages alone"
            raise self._refusal(f"{problem}, but it is one of {signature}")
        self._arguments = 2 if many else min(2, len(taken))

    def _refusal(self, problem: str) -> ps.PipelineError:
        return ps.PipelineError(f"chat model {self.name!r}", problem, self.where)

    # A run

    def body(self, value: object) -> Conversation:
        """See `Job.body`."""
        request = super().body(value)
        assert isinstance(request, ChatRequest), "the body's type is this"
        return self.conversation(request)

    def conversation(self, request: ChatRequest) -> Conversation:
        """What a run is about that answers this request."""
        return Conversation(request, Answer(self._limits.max_deltas, self._limits.max_bytes))

    def stream(self, body: object) -> ps.Stream[Any]:
        """See `Job.stream`: what the model yields."""
        assert isinstance(body, Conversation), "`body` has given it"
        if self._function is None:
            self.refuse()
        given: object = self._function(
            *(body.request.messages, body.request.parameters)[: self._arguments]
        )
        where = line_of(self._function) or self.where
        return checked_stream(given, "chat model", self.name, where)

    def pipeline(self, topic: Topic[Any], body: object) -> ps.Pipeline[None]:
        """See `Job.pipeline`: one step puts what the model yields into the log, a piece a word."""
        assert isinstance(body, Conversation), "`body` has given it"
        take = body.answer.take

        def append(item: object) -> None:
            topic.log.append([encode_delta(piece) for piece in take(item)])

        return self.stream(body).tap(append).to(ps.drain())

    def conclude(self, body: object, error: Exception | None) -> Conclusion:
        """See `Job.conclude`: the last piece says why the answer has ended."""
        assert isinstance(body, Conversation), "`body` has given it"
        causes = list(_causes(error))
        if error is None:
            return Conclusion((body.answer.last(),))
        if any(isinstance(each, AnswerFull) for each in causes):
            logger.warning("chat model %s: an answer was cut off, it is too long", self.name)
            return Conclusion((body.answer.last("length"),))
        upstream = next(filter(_is_upstream, causes), None)
        if upstream is None:
            return super().conclude(body, error)
        too_long = getattr(upstream, "code", None) == _TOO_LONG
        # What the upstream has said is between it and us; the server's log has it.
        return Conclusion(problem=_CONVERSATION_TOO_LONG if too_long else _UPSTREAM_FAILED)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and whatever has caused it."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
                yield from _causes(each)
        error = error.__cause__


def _is_upstream(error: BaseException) -> bool:
    # Who has raised it has imported it, with httpx, which a server need not have.
    net = sys.modules.get("penstock.net")
    return net is not None and isinstance(error, net.UpstreamError)
