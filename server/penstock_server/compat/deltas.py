"""What a model yields, made into the pieces of an answer that a log holds. Pure.

A log is read from any place and told in several framings that know nothing of what went before. So
each piece is of one kind and says all that telling it needs: which part of the answer it belongs
to, whether it begins that, and which part has ended right before. The rules:

- a part is an unbroken stretch of text, one of reasoning, or one tool call; parts are counted from
  1, in the order in which they begin;
- each piece of a tool call has the call's id; its name is in the first alone;
- the last piece, and no other, has a finish reason, the usage, and the tool calls as a whole.

To a reader that knows `ChatDelta` alone the pieces are such deltas.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import msgspec

from penstock.wire import ChatDelta, FinishReason, ToolCallDelta, Usage, to_base36

from ..log import EncodedEvent

PartKind: TypeAlias = Literal["text", "reasoning"]

_ID_BITS = 96
_MOST_TOKENS = 1 << 53
_FINISH_REASONS = frozenset(get_args(FinishReason))


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call as a whole; `arguments` are the text of a JSON object, where the model made no
    mistake.
    """

    id: str
    name: str
    arguments: str


class AnswerDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of an answer: of its text, of its reasoning, of one tool call, or its end.

    The first fields are those of `ChatDelta`. `part` is the number of the part that it belongs to,
    and `begins` says that it is that one's first piece. `closes` is the kind of the part before,
    numbered ``part - 1``, where this piece ends it. `calls` are all tool calls, in the last piece.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    part: int = 0
    begins: bool = False
    closes: PartKind | None = None
    calls: Sequence[ToolCall] = ()


class AnswerFull(Exception):
    """The answer has as much as it may have; it ends here."""


@dataclass(slots=True)
class _Call:
    """A tool call that is being told; `given_id` is the model's own for it."""

    index: int
    part: int
    id: str
    given_id: str | None
    name: str
    arguments: list[str] = field(default_factory=list[str])


class Answer:
    """One answer, as its model yields it.

    Args:
        max_deltas: the most pieces that it may have.
        max_bytes: the most bytes of UTF-8 that its text, reasoning and tool calls may have.
    """

    def __init__(self, max_deltas: int, max_bytes: int) -> None:
        self._deltas_left = max_deltas
        self._bytes_left = max_bytes
        self._part = 0
        self._open: PartKind | None = None
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None

    def take(self, item: object) -> list[AnswerDelta]:
        """The pieces that one item of the model's makes; none where it says nothing yet.

        Raises `AnswerFull`; `TypeError` and `ValueError` for what no chat model may yield.
        """
        if isinstance(item, str):
            return self._prose("text", item) if item else []
        if not isinstance(item, ChatDelta):
            raise TypeError(f"a chat model yields str or ChatDelta, not {type(item).__name__}")
        self._note_end(item)
        pieces: list[AnswerDelta] = []
        if item.reasoning:
            pieces += self._prose("reasoning", item.reasoning)
        if item.text:
            pieces += self._prose("text", item.text)
        pieces += [self._call_piece(call) for call in item.tool_calls]
        return pieces

    def last(self, reason: FinishReason | None = None) -> AnswerDelta:
        """The last piece; `reason` is why it ends, where that is not the model's to say."""
        usual: FinishReason = "tool_calls" if self._calls else "stop"
        closes = self._begin_part(None)
        return AnswerDelta(
            finish_reason=reason or self._reason or usual,
            usage=self._usage,
            part=self._part,
            closes=closes,
            calls=tuple(
                ToolCall(call.id, call.name, "".join(call.arguments)) for call in self._calls
            ),
        )

    def _prose(self, kind: PartKind, text: str) -> list[AnswerDelta]:
        self._pay(text)
        begins, closes = self._open != kind, None
        if begins:
            closes = self._begin_part(kind)
        if kind == "text":
            return [AnswerDelta(text=text, part=self._part, begins=begins, closes=closes)]
        return [AnswerDelta(reasoning=text, part=self._part, begins=begins, closes=closes)]

    def _begin_part(self, kind: PartKind | None) -> PartKind | None:
        """Begin a part; gives the kind of the one that ends with that."""
        closes, self._open = self._open, kind
        self._part += 1
        return closes

    # Tool calls

    def _call_piece(self, piece: ToolCallDelta) -> AnswerDelta:
        self._pay(piece.arguments)
        call = self._call_at.get(piece.index)
        # Some models number all their calls 0, and only the id tells that another one begins.
        others = call is not None and piece.id is not None and piece.id != call.given_id
        if call is None or (others and call.given_id is not None):
            return self._begin_call(piece)
        call.arguments.append(piece.arguments)
        told = ToolCallDelta(call.index, call.id, None, piece.arguments)
        return AnswerDelta(tool_calls=(told,), part=call.part)

    def _begin_call(self, piece: ToolCallDelta) -> AnswerDelta:
        if not piece.name:
            raise ValueError(f"the first piece of tool call {piece.index} has no name of a tool")
        taken = any(call.id == piece.id for call in self._calls)
        id_ = f"call_{to_base36(secrets.randbits(_ID_BITS))}" if taken or not piece.id else piece.id
        self._pay(id_, piece.name)
        closes = self._begin_part(None)
        call = _Call(len(self._calls), self._part, id_, piece.id, piece.name, [piece.arguments])
        self._calls.append(call)
        self._call_at[piece.index] = call
        told = ToolCallDelta(call.index, id_, call.name, piece.arguments)
        return AnswerDelta(tool_calls=(told,), part=call.part, begins=True, closes=closes)

    # The end, and the limits

    def _note_end(self, delta: ChatDelta) -> None:
        if delta.finish_reason is not None:
            if delta.finish_reason not in _FINISH_REASONS:
                known = ", ".join(sorted(_FINISH_REASONS))
                raise ValueError(f"finish_reason is one of {known}, not {delta.finish_reason!r}")
            self._reason = delta.finish_reason
        if delta.usage is not None:
            self._usage = _checked(delta.usage)

    def _pay(self, *texts: str) -> None:
        """Count a piece with these texts. Raises `AnswerFull`, and `TypeError` for no text."""
        size = 0
        for text in texts:
            given: object = text
            if not isinstance(given, str):
                raise TypeError(f"the pieces of an answer are text, not {type(given).__name__}")
            size += len(given) if given.isascii() else len(given.encode("utf-8", "surrogatepass"))
        self._deltas_left -= 1
        self._bytes_left -= size
        if self._deltas_left < 0 or self._bytes_left < 0:
            raise AnswerFull


def _checked(usage: Usage) -> Usage:
    for count in (usage.prompt_tokens, usage.completion_tokens):
        given: object = count
        if not isinstance(given, int) or not 0 <= given <= _MOST_TOKENS:
            raise ValueError(f"a usage counts tokens in whole numbers, not {given!r}")
    return usage


_to_json = msgspec.json.Encoder()
_to_msgpack = msgspec.msgpack.Encoder()
_deltas = msgspec.json.Decoder(AnswerDelta)


def encode_delta(piece: AnswerDelta) -> EncodedEvent:
    """A piece as a log stores it. Raises ``UnicodeEncodeError`` for text that UTF-8 can't say.

    Its fields are text and numbers that were looked at, so nothing else can be wrong with it, and
    each word of each answer comes through here.
    """
    return EncodedEvent(_to_json.encode(piece), _to_msgpack.encode(piece))


def read_delta(json: bytes) -> AnswerDelta:
    """The piece that a log holds as JSON."""
    return _deltas.decode(json)
