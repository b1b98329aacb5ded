"""A chat with a language model: a small one of its own, or any that speaks OpenAI's API.

    scripts/penstock serve examples/chat.py

Open http://127.0.0.1:8000/chat, or talk in a terminal: ``penstock chat http://127.0.0.1:8000``; any
client of OpenAI's API works as well, with the base URL http://127.0.0.1:8000/v1.

The model of its own needs no network and no key. It counts which word follows which two in this
project's documentation, once, at the start; its answers sound like that, and mean nothing. With

    OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_MODEL=… OPENAI_API_KEY=…

in the environment a real one takes its place, and nothing else is different.

What to look at: reload the page, or cut its connection, while an answer comes: ``detach=30`` keeps
the model going that long for a reader who comes back. Stop, and it stops.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Annotated, Any

import msgspec
import trio
from msgspec import Meta
from quart import Response

from penstock import PenstockError, Stream, producer
from penstock.net import OpenAIChat, openai_chat
from penstock.wire import ChatDelta, ChatMessage, FinishReason, Usage
from penstock_server import Server

HERE = Path(__file__).resolve().parent
SECONDS_A_WORD = float(os.environ.get("SECONDS_A_WORD", "0.015"))
SENTENCES = (3, 6)
MAX_SENTENCE = 60
MAX_WORDS = 400

server = Server(title="Chat")


# What it learns from: prose of the documentation, without code, tables and markup


_NOT_PROSE = re.compile(
    r"^ *```.*?^ *```$|<!--.*?-->|^ *\|.*?$|^#.*?$|^ *- \[[^]]*\]\(#.*?$|^ {4,}\S.*?$",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|<https?://[^>]*>")
_PARAGRAPHS = re.compile(r"\n\s*\n|\n\s*(?:[-*>]|\d+\.)\s")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_MARKUP = str.maketrans("", "", "`*")
_CLOSING = re.compile(r"[)\]\"”]+(?=[.,;:!?]*$)")


def documentation(root: Path) -> str:
    """The project's pages; where the example was copied elsewhere, what it says of itself."""
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    texts = [page.read_text(encoding="utf-8") for page in pages if page.is_file()]
    return "\n\n".join(texts) or str(__doc__)


def sentences(text: str) -> Iterator[list[str]]:
    """The sentences of a page of Markdown, as words with their punctuation."""
    prose = _LINK.sub(r"\1", _NOT_PROSE.sub("\n", text)).translate(_MARKUP)
    for paragraph in _PARAGRAPHS.split(prose):
        for sentence in _SENTENCE.split(" ".join(paragraph.split())):
            words = [unwrapped(word) for word in sentence.split() if bare(word)]
            if len(words) >= 4 and words[0][0].isalpha() and words[-1][-1] in ".!?":
                yield words


def unwrapped(word: str) -> str:
    """A word without the bracket or quote that it opens or closes: few sentences close them."""
    word = word.lstrip('(["“') or word
    return word if "(" in word else _CLOSING.sub("", word)


# The model


_COMMON = re.compile("what|when|where|which|with|does|have|this|that|tell|about|there|would")


def bare(word: str) -> str:
    """A word as it is compared: without case and punctuation."""
    return word.lower().strip(".,;:!?")


class Markov:
    """Which word follows which two, and which one, in some text. A sentence ends with ""."""

    def __init__(self, text: Iterable[list[str]]) -> None:
        self.after_two: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.after_one: dict[str, Counter[str]] = defaultdict(Counter)
        self.starts: list[tuple[str, str]] = []
        self.about: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for words in text:
            start = (words[0], words[1])
            self.starts.append(start)
            for word in sorted({bare(word) for word in words}):
                self.about[word].append(start)
            for (first, second), third in zip(pairwise(words), [*words[2:], ""], strict=True):
                self.after_two[first, second][third] += 1
                self.after_one[second][third] += 1

    def begin(self, topics: Sequence[str], count: int, random: Random) -> list[tuple[str, str]]:
        """How some sentences begin: those that say one of these words first, then any others."""
        about = [start for topic in topics for start in self.about.get(topic, [])]
        starts = [*random.sample(about, len(about)), *random.sample(self.starts, count)]
        return list(dict.fromkeys(starts))[:count]

    def follow(self, first: str, second: str, temperature: float, random: Random) -> str:
        """A word behind these two; the hotter, the more often one that only the second knows."""
        counts = self.after_two.get((first, second)) or self.after_one[second]
        if len(counts) == 1 and random.random() < 0.3 * temperature:
            counts = self.after_one[second]
        if temperature < 0.01:
            return max(counts, key=lambda word: counts[word])
        # More than the largest count to that power is not to be had: no overflow.
        largest = max(counts.values())
        weights = [(count / largest) ** (1 / temperature) for count in counts.values()]
        return random.choices(list(counts), weights)[0]

    def words(self, prompt: str, temperature: float, random: Random) -> Iterator[str]:
        """Some sentences about a prompt, a word at a time."""
        words = (bare(word) for word in prompt.split()[-100:])
        topics = [word for word in words if len(word) > 3 and not _COMMON.fullmatch(word)]
        for first, second in self.begin(topics, random.randint(*SENTENCES), random):
            yield from (first, second)
            for _ in range(MAX_SENTENCE):
                first, second = second, self.follow(first, second, temperature, random)
                if not second:
                    break
                yield second


model = Markov(sentences(documentation(HERE.parent)))


# An answer of it


class Wishes(msgspec.Struct):
    """What a request may ask for; further fields are left alone."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None

    @property
    def heat(self) -> float:
        return 0.7 if self.temperature is None else self.temperature

    @property
    def most_words(self) -> int:
        return min(self.max_completion_tokens or self.max_tokens or MAX_WORDS, MAX_WORDS)

    @property
    def stops(self) -> list[str]:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in stops if stop]


class Cut:
    """Text as it comes, up to the first of some strings; what may be its beginning is held back."""

    def __init__(self, stops: list[str]) -> None:
        self._stops = stops
        self._held = ""
        self.is_over = False

    def feed(self, text: str) -> str:
        """What of the text so far can be shown now."""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        self.is_over = bool(places)
        length = len(self._held)
        end = min(places, default=next(at for at in range(length + 1) if self._may_begin(at)))
        shown, self._held = self._held[:end], "" if places else self._held[end:]
        return shown

    def rest(self) -> str:
        """What was held back, and is nothing to stop at after all."""
        return self._held

    def _may_begin(self, at: int) -> bool:
        tail = self._held[at:]
        return not tail or any(stop.startswith(tail) for stop in self._stops)


def markov(messages: Sequence[ChatMessage], parameters: Mapping[str, Any]) -> Stream[ChatDelta]:
    """The answer to the newest question."""
    wishes = msgspec.convert(parameters, Wishes)
    questions = [message.text for message in messages if message.role == "user"]
    return speak(
        model.words(questions[-1] if questions else "", wishes.heat, Random(wishes.seed)),
        wishes,
        sum(len(message.text.split()) for message in messages),
    )


@producer
async def speak(words: Iterator[str], wishes: Wishes, asked: int) -> AsyncIterator[ChatDelta]:
    """Say it word by word, as a larger model would."""
    cut, said = Cut(wishes.stops), 0
    reason: FinishReason = "stop"
    for word in words:
        if said == wishes.most_words:
            reason = "length"
            break
        await trio.sleep(SECONDS_A_WORD)
        said += 1
        if text := cut.feed(word if said == 1 else f" {word}"):
            yield ChatDelta(text)
        if cut.is_over:
            break
    if text := cut.rest():
        yield ChatDelta(text)
    yield ChatDelta(finish_reason=reason)
    yield ChatDelta(usage=Usage(asked, said))


# Served


def upstream() -> OpenAIChat | None:
    """The model that the environment names, if it does."""
    base_url = os.environ.get("OPENAI_BASE_URL")
    name = os.environ.get("OPENAI_MODEL")
    if not base_url:
        return None
    if not name:
        raise PenstockError(
            "OPENAI_BASE_URL is set, and so must be OPENAI_MODEL: which model there?"
        )
    return openai_chat(base_url, name, os.environ.get("OPENAI_API_KEY"))


elsewhere = upstream()
# A name of ours is part of a path: it has no slash.
name = re.sub(r"[^\w.-]", "-", elsewhere.model) if elsewhere else "markov"
server.chat_model(name, detach=30)(elsewhere or markov)
server.app.static_folder = HERE / "pages"


@server.app.get("/chat")
async def page() -> Response:
    """The page; Quart serves its folder under /static."""
    return await server.app.send_static_file("chat.html")
