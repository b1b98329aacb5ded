"""What a loaded config file holds: its pipelines, and the servers that have more of them."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar, runtime_checkable

from penstock.stream import Pipeline, Stream

from .blame import blame, did_you_mean
from .errors import ConfigError
from .importing import NotImportable, import_file

T = TypeVar("T")

Builder = Callable[[], "Stream[Any] | Pipeline[Any]"]
"""Builds a stream or a pipeline anew, without running it."""


@runtime_checkable
class HasPipelines(Protocol):
    """What offers pipelines beside those that the file names: a server with its topics."""

    def named_pipelines(self) -> Iterable[tuple[str, Builder]]:
        """Each pipeline's name, and the function that builds it without running it."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line names: a file, and something in it where ``name`` is not None."""

    file: str
    name: str | None = None


def parse_target(text: str) -> Target:
    """``FILE`` or ``FILE:NAME``. The colon of a Windows drive is part of the file."""
    file, colon, name = text.rpartition(":")
    if not colon or not file or "/" in name or "\\" in name:
        return Target(text)
    return Target(file, name or None)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file that was imported.

    Attributes:
        path: the file, as the user named it.
        module: the module that it became.
    """

    path: Path
    module: ModuleType

    @property
    def pipelines(self) -> dict[str, Pipeline[Any]]:
        """The pipelines by name, in the order of their definition.

        Names that begin with an underscore are the file's own; of several names for one pipeline
        the first counts.
        """
        return self.named(Pipeline)

    @property
    def streams(self) -> dict[str, Stream[Any]]:
        """The streams without a sink by name, which can be drawn and not run."""
        return self.named(Stream)

    @property
    def servers(self) -> dict[str, HasPipelines]:
        """The objects that offer pipelines of their own, by name, in the order of definition."""
        found = self.named(object)
        return {
            name: value
            for name, value in found.items()
            # Of the type: a proxy such as Quart's `request` answers for what isn't there yet.
            if hasattr(type(value), "named_pipelines") and isinstance(value, HasPipelines)
        }

    def named(self, kind: type[T]) -> dict[str, T]:
        """All public values of a kind by name, each once, in the order of their definition."""
        names: dict[str, T] = {}
        seen: set[int] = set()
        for name, value in vars(self.module).items():
            if isinstance(value, kind) and not name.startswith("_") and id(value) not in seen:
                seen.add(id(value))
                names[name] = value
        return names

    def find(self, kind: type[T], name: str | None = None) -> T:
        """The value of that name, or, without a name, the only one of its kind.

        Raises `ConfigError` where the name is missing or names something else, and where the file
        has none of that kind, or several and no name says which.
        """
        there = self.named(kind)
        if name is not None:
            return self._find_named(kind, name, there)
        if len(there) == 1:
            return next(iter(there.values()))
        if not there:
            raise self.error(1, f"no {kind.__name__} in it")
        raise self.error(
            1,
            f"{len(there)} of {kind.__name__} in it: {', '.join(there)}",
            f"say which, as in {self.path}:{next(iter(there))}",
        )

    def topics(self) -> list[tuple[str, Builder]]:
        """What all servers of the file offer, by name.

        Raises `ConfigError` where a server can't say.
        """
        return [each for server in self.servers.values() for each in self.topics_of(server)]

    def topics_of(self, server: HasPipelines) -> list[tuple[str, Builder]]:
        """What one server offers, by name. Raises `ConfigError` where it can't say."""
        try:
            return list(server.named_pipelines())
        except Exception as error:
            raise self.blame(error) from error

    def builders(self) -> list[tuple[str, Builder]]:
        """All pipelines, then all topics, by name. Raises `ConfigError` as `topics` does."""
        there = [(name, partial(_same, each)) for name, each in self.pipelines.items()]
        return [*there, *self.topics()]

    def build(self, name: str, builder: Callable[[], object]) -> Stream[Any] | Pipeline[Any]:
        """Call a builder and check what it gives, up to the plan of its tasks.

        Raises `ConfigError` with the line of the file that is to blame.
        """
        given = self.call(name, builder)
        try:
            given.graph()
        except Exception as error:
            raise self.blame(error) from error
        return given

    def call(self, name: str, builder: Callable[[], object]) -> Stream[Any] | Pipeline[Any]:
        """As `build`, without a look at the plan."""
        try:
            given = builder()
        except Exception as error:
            raise self.blame(error) from error
        if isinstance(given, Stream | Pipeline):
            return given  # pyright: ignore[reportUnknownVariableType] - of any type of items
        raise self.error(
            self._line_of(name),
            f"{name} must give a Stream or a Pipeline, but gave {given!r}",
            "return it" if given is None else "",
        )

    def names_read(self) -> frozenset[str]:
        """The names that some code of the file reads, in whatever scope."""
        return frozenset(_names_in(self._syntax()))

    def names_ended(self) -> frozenset[str]:
        """The names in expressions that ``.to(…)`` or ``.open(…)`` is called on, in any scope."""
        calls = [node for node in ast.walk(self._syntax()) if isinstance(node, ast.Call)]
        methods = [call.func for call in calls if isinstance(call.func, ast.Attribute)]
        ended = [each.value for each in methods if each.attr in ("to", "open")]
        return frozenset(name for each in ended for name in _names_in(each))

    def blame(self, error: BaseException) -> ConfigError:
        """The `ConfigError` for an error that code of this file raised."""
        return blame(error, Path(str(self.module.__file__)), str(self.path))

    def error(self, line: int, problem: str, hint: str = "") -> ConfigError:
        """A `ConfigError` in this file."""
        return ConfigError(str(self.path), line, problem, hint)

    def _syntax(self) -> ast.Module:
        return ast.parse(Path(str(self.module.__file__)).read_bytes())

    def _find_named(self, kind: type[T], name: str, there: dict[str, T]) -> T:
        value: object = getattr(self.module, name, None)
        if isinstance(value, kind):
            return value
        if value is not None:
            actual = type(value)
            needs_sink = issubclass(actual, Stream) and kind is Pipeline
            raise self.error(
                self._line_of(name),
                f"{name} is a {actual.__name__}, not a {kind.__name__}",
                "end it in a sink: .to(collect())" if needs_sink else _there(kind, there),
            )
        meant = did_you_mean(name, there)
        problem = f"no {name} in it. {meant}" if meant else f"no {name} in it"
        raise self.error(1, problem, _there(kind, there))

    def _line_of(self, name: str) -> int:
        """The line that defines a name, found by eye; 1 where there is none."""
        defines = re.compile(rf"(?:(?:async )?def |class )?{re.escape(name)}\b")
        with open(str(self.module.__file__), encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return next((n for n, line in enumerate(file, 1) if defines.match(line)), 1)


def _names_in(node: ast.AST) -> Iterator[str]:
    """The names that it reads."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
            yield each.id


def _same(pipeline: Pipeline[Any]) -> Pipeline[Any]:
    return pipeline


def _there(kind: type, there: Iterable[str]) -> str:
    names = ", ".join(there)
    return f"it has {names}" if names else f"it has no {kind.__name__} at all"


def load(path: str | os.PathLike[str]) -> ConfigFile:
    """Import a config file, running its top level; nothing of what it defines is run.

    The file becomes an ordinary module under its stem, with its folder first on ``sys.path``, so
    that its functions can be pickled into worker processes (see `penstock.config.importing` for
    stems that are taken). Loaded again, it is imported anew.

    Raises `ConfigError` for a file that isn't there, isn't Python, or raises, ``SystemExit``
    included. ``KeyboardInterrupt`` passes.
    """
    given = Path(path)
    _require_python_file(given)
    # Not resolved further: a link's own name is the one that the user knows.
    file = given.parent.resolve() / given.name
    try:
        return ConfigFile(given, import_file(file))
    except NotImportable as problem:
        raise ConfigError(
            str(given), 1, f"it can't be imported: {problem}", "give the file another name"
        ) from problem
    except (Exception, SystemExit) as error:
        raise blame(error, file, str(given)) from error


def _require_python_file(path: Path) -> None:
    problem = hint = ""
    if path.is_dir():
        problem, hint = "it is a folder", "name a Python file in it"
    elif not path.exists():
        neighbours = [str(each) for each in path.parent.glob("*.py")]
        meant = did_you_mean(str(path), neighbours)
        problem = f"no such file. {meant}" if meant else "no such file"
    elif path.suffix != ".py":
        problem, hint = "not a Python file", "give a file that ends in .py"
    if problem:
        raise ConfigError(str(path), None, problem, hint)
