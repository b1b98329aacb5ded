"""What a conversation with a language model is made of: messages in, deltas out.

The shapes follow OpenAI's Chat Completions API, which most servers of models speak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why a model stopped."""

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation.

    `content` is text, or parts such as ``{"type": "text", "text": …}`` and
    ``{"type": "image_url", …}``; None where an assistant only called tools. `tool_calls` is what it
    called, and `tool_call_id` which call a tool's message answers.
    """

    role: Role
    content: str | Sequence[Mapping[str, Any]] | None = None
    name: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text of it, that of its text parts joined."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        texts = (part.get("text") for part in self.content if part.get("type") == "text")
        return "".join(text for text in texts if isinstance(text, str))


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a tool call; the pieces with one `index` are one call.

    The first has its `id` and `name`; `arguments` are pieces of JSON.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Usage(msgspec.Struct, frozen=True):
    """How many tokens the conversation and the answer to it have."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


class ChatDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a model's answer. All fields are optional; the last one says why it ended."""

    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
