"""A dialogue with a model: questions from `Talk`, answers from `openai_chat`.

Questions are read outside of Trio, answers are streamed in a run of Trio each, so that editing a
line needs no thread, and Ctrl-C always finds the one that it is meant for.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import trio

from penstock._errors import StageError, describe, flatten
from penstock.net import UpstreamError, openai_chat, openai_models
from penstock.wire import ChatDelta

from .conversation import MAX_CHARACTERS, Conversation
from .failure import Failure, error_line
from .talk import Talk

__all__ = ["Place", "UpstreamError", "talk"]

_HELP = """\
/reset         forget what was said
/model         tell the models; /model NAME takes another one
/quit          leave, as Ctrl-D does
//…            a question that starts with /
Ctrl-C stops an answer."""

_ELSEWHERE = (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


@dataclass(frozen=True)
class Place:
    """Where to ask: a base URL, a key, further headers."""

    url: str
    token: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def talk(place: Place, model: str | None, system: str | None) -> None:
    """Talk until the user leaves.

    Raises `UpstreamError` where there is no model to be had, `Failure` where a script's question
    fails, and `PipelineError` for a place that is none.
    """
    found, models = trio.run(partial(find_models, place, model))
    _Dialogue(found, models, model or models[0], Conversation(system), Talk()).run()


async def find_models(place: Place, model: str | None = None) -> tuple[Place, list[str]]:
    """The place where models are, and those that there are; none told for one given with a path.

    A URL without a path is tried with ``/v1`` first. Raises `UpstreamError`, and `Failure` where
    no model is given and none is there.
    """
    bare = _is_bare(place.url)
    if model and not bare:
        return place, []
    places = [Place(f"{place.url.rstrip('/')}/v1", place.token, place.headers)] if bare else []
    failures: list[UpstreamError] = []
    for each in [*places, place]:
        try:
            models = await openai_models(each.url, each.token, headers=each.headers)
        except UpstreamError as error:
            failures.append(error)
            if error.status not in _ELSEWHERE:
                break
        else:
            if not models and not model:
                raise Failure(error_line(f"{each.url} tells of no models; give --model"))
            return each, models
    if model and failures[0].status is not None:
        return places[0], []  # some that have models don't tell them
    raise failures[0]


def _is_bare(url: str) -> bool:
    try:
        return not urlsplit(url).path.strip("/")
    except ValueError:
        return False  # no URL at all, as will be said when it is used


@dataclass
class _Dialogue:
    """Questions and answers, one after the other."""

    place: Place
    models: list[str]
    model: str
    conversation: Conversation
    talk: Talk

    def run(self) -> None:
        if self.talk.interactive:
            self.talk.say(f"{self.model} at {self.place.url}; /help for help")
        while (line := self.talk.read()) is not None:
            if line.startswith("/") and not line.startswith("//"):
                if not self._obey(*line.partition(" ")[::2]):
                    return
            elif line.strip():
                self._ask(line.removeprefix("/"))

    def _obey(self, command: str, argument: str) -> bool:
        """Do what a command says; False to leave."""
        match command, argument.strip():
            case "/quit" | "/exit", _:
                return False
            case "/reset", _:
                self.conversation.reset()
                self.talk.say("(forgotten)")
            case "/model", "":
                others = [f"  {name}" for name in self.models if name != self.model]
                self.talk.say("\n".join([f"* {self.model}", *others]))
            case "/model", name:
                self.model = name
                self.talk.say(f"(from now on {name})")
            case "/help", _:
                self.talk.say(_HELP)
            case _:
                self._fail(f"there is no {command}; /help tells what there is")
        return True

    def _ask(self, question: str) -> None:
        self.conversation.ask(question)
        answer = _Answer(self.talk)
        problem = ""
        try:
            trio.run(self._answer, answer)
        except* StageError as failed:
            problem = _problem(failed)
        except* KeyboardInterrupt:  # a moment before or after the signal is waited for
            answer.stopped = True
        self.talk.end_line()
        self.conversation.answered(answer.text)
        if problem:
            self._fail(problem)
        elif answer.stopped:
            self._stop()
        elif answer.cut_off:
            self.talk.say("(cut off: the answer has come to its greatest length)")

    async def _answer(self, answer: _Answer) -> None:
        """Show the answer as it comes. The first SIGINT cancels it, which closes its request."""
        chat = openai_chat(self.place.url, self.model, self.place.token, headers=self.place.headers)
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer.stop_on, signals, nursery.cancel_scope)
                async with chat(self.conversation.messages).open() as deltas:
                    async for delta in deltas:
                        answer.show(delta)
                nursery.cancel_scope.cancel("the answer is over")

    def _stop(self) -> None:
        if not self.talk.interactive:
            raise KeyboardInterrupt
        self.talk.stopped()

    def _fail(self, problem: str) -> None:
        if not self.talk.interactive:
            raise Failure(error_line(problem))
        self.talk.say(error_line(problem))


def _problem(failed: BaseException) -> str:
    """What failed first, in the words of the upstream's error where it is one."""
    cause = flatten(failed)[0].__cause__
    return str(cause) if isinstance(cause, UpstreamError) else describe(cause or failed)


class _Answer:
    """What has come of an answer; what is kept of it is bounded."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._pieces: list[str] = []
        self._room = MAX_CHARACTERS
        self._reasoning = False
        self.stopped = False
        self.cut_off = False

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    async def stop_on(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        await anext(aiter(signals))
        self.stopped = True
        scope.cancel("interrupted")

    def show(self, delta: ChatDelta) -> None:
        if delta.reasoning:
            self._reasoning = True
            self._talk.think(delta.reasoning)
        if delta.text:
            if self._reasoning:
                self._reasoning = False
                self._talk.end_line()
            self._talk.write(delta.text)
            self._keep(delta.text)
        for call in delta.tool_calls:
            if call.name:
                self._talk.end_line()
                self._talk.say(f"(the model calls {call.name}, which nobody here can do)")
        self.cut_off = self.cut_off or delta.finish_reason == "length"

    def _keep(self, text: str) -> None:
        kept = text[: self._room]
        self._room -= len(kept)
        if kept:
            self._pieces.append(kept)
