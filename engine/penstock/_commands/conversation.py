"""A conversation with a model: who said what, bounded. Pure."""

from __future__ import annotations

from penstock.wire import ChatMessage

MAX_MESSAGES = 100
MAX_CHARACTERS = 200_000


class Conversation:
    """The messages so far, oldest first, and what the model is told beforehand.

    Past `max_messages` or `max_characters` the oldest questions go, each with its answer; the
    newest question and `system` always stay.
    """

    def __init__(
        self,
        system: str | None = None,
        *,
        max_messages: int = MAX_MESSAGES,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        self._system = [ChatMessage("system", system)] if system else []
        self._turns: list[ChatMessage] = []
        self._max_messages = max_messages
        self._max_characters = max_characters

    @property
    def messages(self) -> list[ChatMessage]:
        """What the model is given."""
        return [*self._system, *self._turns]

    def ask(self, text: str) -> None:
        """Put a question."""
        self._turns.append(ChatMessage("user", text))
        while len(self._turns) > 1 and self._is_too_long():
            del self._turns[0]
            while self._turns[0].role != "user":
                del self._turns[0]

    def answered(self, text: str) -> None:
        """Keep what the model said, be it cut off; the question goes where it said nothing."""
        if text:
            self._turns.append(ChatMessage("assistant", text))
        else:
            self._turns.pop()

    def reset(self) -> None:
        """Forget all that was said."""
        self._turns.clear()

    def _is_too_long(self) -> bool:
        characters = sum(len(message.text) for message in self._turns)
        return len(self._turns) > self._max_messages or characters > self._max_characters
