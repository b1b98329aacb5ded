"""An answer's log as a UI message stream: ``data: {chunk}`` for each step of a message. Pure.

Text and reasoning come as start, deltas and end, tool calls as start and deltas, and as a whole at
the end of the answer, where ``finish`` and ``[DONE]`` follow. An answer that goes on in the message
before it, after the results of tools, is a step of its own in it: else a page could not tell its
tool calls, which are answered, from new ones.

Source: AI SDK, "Stream protocols", data stream protocol v1 (``x-vercel-ai-ui-message-stream: v1``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.wire import (
    JSON,
    End,
    FinishReason,
    Keepalive,
    ServerMessage,
    Subscribed,
    Undecodable,
    encode_comment,
)

from ..log import StoredEvent
from .deltas import AnswerDelta, PartKind, ToolCall, read_delta

UI_HEADER = (b"x-vercel-ai-ui-message-stream", b"v1")

_DONE = b"data: [DONE]\n\n"
_CUT = "The server ended this connection before the answer was whole."
_REASONS = {"tool_calls": "tool-calls", "content_filter": "content-filter"}


@dataclass(frozen=True, slots=True)
class UIFraming:
    """A log as a UI message stream; see `penstock_server.fanout.Framing`.

    Attributes:
        message_id: of the message that it is.
        continues: whether the message was there before, and this is one more step of it.
        cancelled: whether the run was cancelled, asked once its log has ended.
    """

    message_id: str
    continues: bool = False
    cancelled: Callable[[], bool] = field(compare=False, default=lambda: False)
    transport: str = "sse"

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002
        """The chunks that a piece of an answer makes, or an error."""
        if event.name is not None:
            problem: Any = msgspec.json.decode(event.json)
            return _chunk("error", errorText=problem["detail"])
        piece = read_delta(event.json)
        chunks = b"".join(_chunks(piece))
        if piece.finish_reason is None:
            return chunks
        step = _chunk("finish-step") if self.continues else b""
        return chunks + step + _chunk("finish", finishReason=_reason(piece.finish_reason))

    def message(self, message: ServerMessage) -> bytes:
        """``start`` at the beginning, ``[DONE]`` at the end, comments in between."""
        match message:
            case Subscribed():
                step = _chunk("start-step") if self.continues else b""
                return _chunk("start", messageId=self.message_id) + step
            case End():
                aborted = _chunk("abort", reason="cancelled") if self.cancelled() else b""
                return aborted + _DONE
            case Keepalive():
                return encode_comment("keepalive")
            case _:
                return _chunk("error", errorText=_CUT)

    def join(self, framed: Sequence[bytes]) -> bytes:
        """Blocks stand one after another."""
        return b"".join(framed)


def _chunks(piece: AnswerDelta) -> Iterator[bytes]:
    if piece.closes is not None:
        yield _chunk(f"{piece.closes}-end", id=_part_id(piece.closes, piece.part - 1))
    if piece.text:
        yield from _prose("text", piece.text, piece)
    elif piece.reasoning:
        yield from _prose("reasoning", piece.reasoning, piece)
    elif piece.finish_reason is not None:
        yield from map(_whole_call, piece.calls)
    for call in piece.tool_calls:
        if piece.begins:
            yield _chunk("tool-input-start", toolCallId=call.id, toolName=call.name)
        if call.arguments:
            yield _chunk("tool-input-delta", toolCallId=call.id, inputTextDelta=call.arguments)


def _reason(finish_reason: FinishReason) -> str:
    return _REASONS.get(finish_reason, finish_reason)


def _prose(kind: PartKind, text: str, piece: AnswerDelta) -> Iterator[bytes]:
    id_ = _part_id(kind, piece.part)
    if piece.begins:
        yield _chunk(f"{kind}-start", id=id_)
    yield _chunk(f"{kind}-delta", id=id_, delta=text)


def _part_id(kind: PartKind, number: int) -> str:
    return f"{kind}-{number}"


def _whole_call(call: ToolCall) -> bytes:
    named = {"toolCallId": call.id, "toolName": call.name}
    try:
        arguments = JSON.decode_value(call.arguments or "{}")
    except Undecodable:
        problem = "The model has called the tool with something that is no JSON."
        return _chunk("tool-input-error", **named, input=call.arguments, errorText=problem)
    return _chunk("tool-input-available", **named, input=arguments)


def _chunk(type: str, **fields: object) -> bytes:  # noqa: A002 - its name in the protocol
    return b"data: %b\n\n" % msgspec.json.encode({"type": type, **fields})
