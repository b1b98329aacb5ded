"""An answer's log as OpenAI's API tells it: in chunks, or as one completion. Pure.

A stream is ``data: {chunk}`` for each piece, and ``data: [DONE]`` at the end; the first chunk has
the role, the last has the finish reason, and behind it comes one with the usage where that is
wanted and known. There are no ids: nothing at that address resumes after one, every reader begins
at the beginning, and they would be a third of the bytes of a short piece.

Source: OpenAI API reference, "The chat completion chunk object", "The chat completion object".
Reasoning goes in ``reasoning_content``, as the servers that have it do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.wire import (
    End,
    Keepalive,
    ServerMessage,
    Subscribed,
    ToolCallDelta,
    Usage,
    encode_comment,
)

from ..log import StoredEvent
from .deltas import AnswerDelta, read_delta
from .errors import error_of, error_of_problem

_DONE = b"data: [DONE]\n\n"
CANCELLED = error_of(500, "The answer was cancelled before it was whole.", code="cancelled")
_CUT = error_of(
    503, "The server ended this connection before the answer was whole.", code="disconnected"
)


@dataclass(frozen=True, slots=True)
class ChunkFraming:
    """A log in chunks; see `penstock_server.fanout.Framing`.

    Attributes:
        id: of the completion.
        created: when it began, in seconds since 1970.
        model: its model's name.
        include_usage: whether the usage is wanted.
        cancelled: whether the run was cancelled, asked once its log has ended.
    """

    id: str
    created: int
    model: str
    include_usage: bool = False
    cancelled: Callable[[], bool] = field(compare=False, default=lambda: False)
    transport: str = "sse"
    _head: bytes = field(init=False, compare=False, repr=False, default=b"")
    _tail: bytes = field(init=False, compare=False, repr=False, default=b"")

    def __post_init__(self) -> None:
        fixed = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
        }
        head = msgspec.json.encode(fixed)[:-1]
        object.__setattr__(self, "_head", b"data: " + head + b',"choices":[')
        object.__setattr__(
            self, "_tail", b'],"usage":null}\n\n' if self.include_usage else b"]}\n\n"
        )

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002
        """A chunk; the last piece is two where it has a usage that is wanted."""
        if event.name is not None:
            return _data(error_of_problem(msgspec.json.decode(event.json)))
        piece = read_delta(event.json)
        if piece.finish_reason is None:
            return self._chunk(msgspec.json.encode(_delta(piece)), b"null")
        last = self._chunk(b"{}", msgspec.json.encode(piece.finish_reason))
        if not self.include_usage or piece.usage is None:
            return last
        usage = msgspec.json.encode(_usage(piece.usage))
        return b'%b%b],"usage":%b}\n\n' % (last, self._head, usage)

    def message(self, message: ServerMessage) -> bytes:
        """The chunk with the role at the beginning, ``[DONE]`` at the end, comments in between."""
        match message:
            case Subscribed():
                return self._chunk(b'{"role":"assistant","content":""}', b"null")
            case End():
                return (_data(CANCELLED) if self.cancelled() else b"") + _DONE
            case Keepalive():
                return encode_comment("keepalive")
            case _:
                return _data(_CUT)

    def join(self, framed: Sequence[bytes]) -> bytes:
        """Blocks stand one after another."""
        return b"".join(framed)

    def _chunk(self, delta: bytes, finish_reason: bytes) -> bytes:
        return b'%b{"index":0,"delta":%b,"finish_reason":%b}%b' % (
            self._head,
            delta,
            finish_reason,
            self._tail,
        )


def completion_of(
    id: str,  # noqa: A002 - its name in the protocol
    created: int,
    model: str,
    events: Iterable[StoredEvent],
) -> dict[str, Any]:
    """The completion that the events of a whole answer make."""
    pieces = [read_delta(event.json) for event in events]
    last = pieces[-1]
    reasoning = "".join(piece.reasoning for piece in pieces)
    text = "".join(piece.text for piece in pieces)
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if last.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in last.calls
        ]
    elif not text:
        message["content"] = ""
    choice = {"index": 0, "message": message, "logprobs": None}
    completion = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice | {"finish_reason": last.finish_reason}],
    }
    return completion if last.usage is None else completion | {"usage": _usage(last.usage)}


def _delta(piece: AnswerDelta) -> dict[str, Any]:
    if piece.text:
        return {"content": piece.text}
    if piece.reasoning:
        return {"reasoning_content": piece.reasoning}
    return {"tool_calls": [_call(call, begins=piece.begins) for call in piece.tool_calls]}


def _call(call: ToolCallDelta, *, begins: bool) -> dict[str, Any]:
    if not begins:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    return {
        "index": call.index,
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _data(value: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)
