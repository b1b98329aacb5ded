"""Which run is the answer in a chat: chats have names that their clients choose. Pure.

A chat is its owner's: two clients with different tokens may choose the same name. What is kept for
a chat is the name of its run, and no more than for the runs that run, and as many again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..jobs import JobRun

_SPARE = 64


@dataclass(frozen=True, slots=True)
class Answering:
    """An answer that is on its way: its run, the id of the message that it is, and whether that
    message was there before.
    """

    job: str
    run: str
    message: str
    continues: bool = False


class Chats:
    """The answers that run, by chat.

    Args:
        find: gives the run of a job by its id; None where it isn't kept any more.
    """

    def __init__(self, find: Callable[[str, str], JobRun | None]) -> None:
        self._find = find
        self._answers: dict[tuple[str, str], Answering] = {}
        self._most = _SPARE

    def __len__(self) -> int:
        return len(self._answers)

    def begin(self, subject: str, chat: str, answer: Answering) -> None:
        """Let this be the chat's answer, in place of another."""
        self._answers[subject, chat] = answer
        if len(self._answers) > self._most:
            for key in list(self._answers):
                self.running(*key)  # which lets go of what doesn't run any more
            self._most = 2 * len(self._answers) + _SPARE

    def running(self, subject: str, chat: str) -> tuple[JobRun, Answering] | None:
        """The chat's answer while it runs; None where nothing runs."""
        answer = self._answers.get((subject, chat))
        if answer is None:
            return None
        run = self._find(answer.job, answer.run)
        if run is not None and run.status == "running":
            return run, answer
        del self._answers[subject, chat]
        return None
