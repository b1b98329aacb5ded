"""Templates: ``room.{room}`` stands for one topic per value, each with a log of its own."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar

import penstock as ps

from .options import TopicOptions
from .topics import NAME, Topic, line_of

T = TypeVar("T")

VALUE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PIECE = re.compile(r"([A-Za-z0-9_-]*)(?:\{(\w+)\}([A-Za-z0-9_-]*))?", re.ASCII)

RETRY_AFTER = 1.0
"""Seconds after which a client that was refused for want of room may try again."""


_Piece: TypeAlias = tuple[str, str | None, str]
"""What stands between two dots: text, the name of a part or None, text."""


class TooManyTopics(ps.PenstockError):
    """A template has as many topics as it may have, and none of them is idle.

    Attributes:
        template: its name.
        limit: how many topics it may have (``max_instances``).
    """

    def __init__(self, template: str, limit: int) -> None:
        self.template = template
        self.limit = limit
        super().__init__(template, limit)

    def __str__(self) -> str:
        return f"{self.template} has {self.limit} topics already; try again later"


class Pattern:
    """The name of a template, understood. A value has no dots, so it lies between two of them.

    Raises ``ValueError`` for a name that can't be one.

    Attributes:
        parts: the names of its parts, in order.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        pieces = [_PIECE.fullmatch(piece) for piece in name.split(".")]
        if None in pieces:
            raise ValueError(
                "a template's name is of letters, digits, '_', '-', and {parts} of which there is"
                " at most one between two dots"
            )
        self._pieces: list[_Piece] = [
            (each[1], each[2], each[3] or "") for each in pieces if each is not None
        ]
        self.parts = tuple(part for _, part, _ in self._pieces if part)
        for part in self.parts:
            if not part.isidentifier() or keyword.iskeyword(part):
                raise ValueError(f"{{{part}}} can't be the name of a function's parameter")
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("the same {part} is in it twice")
        value = VALUE.pattern
        self._names = re.compile(
            r"\.".join(
                f"{re.escape(before)}(?P<{part}>{value}){re.escape(after)}"
                if part
                else re.escape(before)
                for before, part, after in self._pieces
            ),
            re.ASCII,
        )

    def match(self, name: str) -> dict[str, str] | None:
        """The values in a topic's name; None for a name that it doesn't stand for."""
        found = self._names.fullmatch(name) if NAME.fullmatch(name) else None
        return None if found is None else found.groupdict()

    def fill(self, values: Mapping[str, str]) -> str:
        """The name with these values in it, one for each part."""
        return ".".join(
            before + (values[part] if part else "") + after for before, part, after in self._pieces
        )

    def overlaps(self, other: Pattern) -> bool:
        """Whether there is a name that both stand for."""
        mine, others = self._pieces, other._pieces
        return len(mine) == len(others) and all(map(_meet, mine, others))


def _meet(one: _Piece, other: _Piece) -> bool:
    """Whether a text fits both pieces: a value may be any, so only what stands around it counts."""
    (before, part, after), (other_before, other_part, other_after) = one, other
    if not part and not other_part:
        return before == other_before
    if part and other_part:
        return _begin_alike(before, other_before) and _begin_alike(after[::-1], other_after[::-1])
    if part:
        return _meet(other, one)
    longest = len(other_before) + 64 + len(other_after)
    return (
        len(other_before) + len(other_after) < len(before) <= longest
        and before.startswith(other_before)
        and before.endswith(other_after)
    )


def _begin_alike(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


class Template(Topic[T]):
    """A family of topics. Made by `Server.topic` for a name with ``{parts}``.

    It has no log: what is published and read are its instances.

    Attributes:
        pattern: its name, understood.
        instances: its live topics by name.
    """

    def __init__(
        self,
        pattern: Pattern,
        options: TopicOptions,
        where: ps.Location | None,
        find: Callable[[str], Topic[Any] | None],
    ) -> None:
        super().__init__(pattern.name, options, where)
        self.pattern = pattern
        self.instances: dict[str, Topic[T]] = {}
        self._find = find

    def __repr__(self) -> str:
        return f"<Template {self.name}, {len(self.instances)} topics>"

    def __call__(self, function: Callable[..., ps.Stream[Any]]) -> Template[T]:
        """Declare the function that gives each topic's pipeline: it gets the values in the name."""
        super().__call__(function)
        values = dict.fromkeys(self.pattern.parts, "")
        try:
            inspect.signature(function).bind(**values)
        except TypeError as error:
            self.source = None
            wanted = ", ".join(self.pattern.parts)
            raise ps.PipelineError(
                f"topic {self.name!r}",
                f"its function is called with the keyword arguments {wanted}: {error}",
                line_of(function) or self.where,
            ) from error
        except ValueError:  # a built-in that doesn't tell its parameters
            pass
        return self

    def instance(self, **values: str) -> Topic[T]:
        """See `Topic.instance`."""
        parts = self.pattern.parts
        if set(values) != set(parts):
            self._refuse(f"instance() takes {_named(parts)}, not {_named(values)}")
        given: dict[str, object] = {**values}
        for part, value in given.items():
            if not isinstance(value, str) or not VALUE.fullmatch(value):
                self._refuse(f"{part} must be 1 to 64 letters, digits, '_', '-', got {value!r}")
        name = self.pattern.fill(values)
        topic = self._find(name)
        if topic is None:
            self._refuse(f"the name {name!r} would be longer than 128 characters")
        return topic

    def make(self, name: str, values: Mapping[str, str]) -> Topic[T]:
        """Make the topic of a name that it stands for. Raises `TooManyTopics`."""
        if len(self.instances) >= self.options.max_instances:
            raise TooManyTopics(self.name, self.options.max_instances)
        topic: Topic[T] = Topic(name, self.options, self.where)
        topic.template = self.name
        self.give_source(topic)
        self.instances[name] = topic
        return topic

    def give_source(self, topic: Topic[T]) -> None:
        """Let one of its topics have the pipeline that the template has now."""
        values = self.pattern.match(topic.name) or {}
        topic.source = None if self.source is None else partial(self.source, **values)

    def find_with(self, find: Callable[[str], Topic[Any] | None]) -> None:
        """Make and find its topics elsewhere than where it was declared."""
        self._find = find

    async def publish(self, data: Any, event: str | None = None) -> NoReturn:
        """Not for a template: publish to one of its topics."""
        self._refuse("is a template; publish to one of its topics: .instance(…)")

    def values(self, after: str = "latest") -> NoReturn:
        """Not for a template: read one of its topics."""
        self._refuse("is a template; read one of its topics: .instance(…)")

    def events(self, after: str = "latest") -> NoReturn:
        """Not for a template: read one of its topics."""
        self.values(after)

    def _refuse(self, problem: str) -> NoReturn:
        raise ps.PipelineError(f"topic {self.name!r}", problem, self.where)


def _named(parts: Any) -> str:
    return ", ".join(f"{part}=" for part in parts) or "nothing"
