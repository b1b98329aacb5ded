"""A config file and the modules beside it, loaded anew; and put back where that fails."""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from penstock.config import ConfigFile, Target, load

from ..server import Server
from ..topics import Topic
from .fingerprints import Declarations, Fingerprints, Place, take_fingerprints
from .modules import Module, Source
from .watch import Contents, read_files

_NEVER_OURS = frozenset({"penstock", "penstock_server", "__main__"})
_INSTALLED = ("site-packages", "dist-packages")
_MOST_NEIGHBOURS = 200


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config file that was loaded.

    Attributes:
        config: the file.
        server: the server in it.
        sources: its modules.
        contents: their files, as they were then.
        fingerprints: what its topics are made of.
    """

    config: ConfigFile
    server: Server
    sources: Mapping[str, Source]
    contents: Contents
    fingerprints: Fingerprints


def loaded(config: ConfigFile, server: Server) -> Loaded:
    """What is to be known of a config file that was just imported."""
    main = main_path(config)
    modules = own_modules(main)
    contents: Contents = {}
    sources: dict[str, Source] = {}

    def take(name: str, file: Path) -> None:
        content = contents[file] = file.read_bytes()
        text = importlib.util.decode_source(content)
        sources[name] = Source(str(file), text, file.name == "__init__.py")

    for name, module in modules.items():
        take(name, Path(str(module.__file__)))
    # What functions import when they are called is not there yet.
    pending = list(sources)
    while pending:
        name = pending.pop()
        for imported in Module(name, sources[name]).imported - sources.keys():
            file = _file_of(imported, main)
            if file is not None:
                take(imported, file)
                pending.append(imported)
    fingerprints = take_fingerprints(sources, _declared(server, modules))
    return Loaded(config, server, sources, contents, fingerprints)


def main_path(config: ConfigFile) -> Path:
    """The config file itself."""
    return Path(str(config.module.__file__))


def own_modules(main: Path) -> dict[str, ModuleType]:
    """The modules that are loaded from the config file's folder, by name, with the file itself."""
    found: dict[str, ModuleType] = {}
    folder = f"{main.parent}{os.sep}"
    for name, module in list(sys.modules.items()):
        file: object = getattr(module, "__file__", None)
        # Most of the many hundred modules are ruled out by this; it is asked twice a second.
        if isinstance(file, str) and file.startswith(folder) and _is_own(name, Path(file), main):
            found[name] = module
    return found


def _is_own(name: str, file: Path, main: Path) -> bool:
    """Whether the module is the file itself, or one that its folder gives under this name."""
    if file == main:
        return name != "__main__"
    installed = any(each in str(file) for each in _INSTALLED)
    return not installed and file in _places_of(name, main)


def _file_of(name: str, main: Path) -> Path | None:
    """The file that the config file's folder has for a module of this name."""
    return next((each for each in _places_of(name, main) if each.is_file()), None)


def _places_of(name: str, main: Path) -> list[Path]:
    """Where a module of this name would be, below the folder or, with its name, beside it."""
    parts = name.split(".")
    if parts[0] in _NEVER_OURS or "" in parts:
        return []
    roots = [main.parent, *([main.parent.parent] if parts[0] == main.parent.name else [])]
    return [
        place
        for root in roots
        for place in (
            root.joinpath(*parts[:-1], f"{parts[-1]}.py"),
            root.joinpath(*parts, "__init__.py"),
        )
    ]


def neighbours(main: Path) -> list[Path]:
    """The Python files beside the config file: one of them may be what keeps it from loading."""
    files = [each for pattern in ("*.py", "*/*.py") for each in sorted(main.parent.glob(pattern))]
    return files[:_MOST_NEIGHBOURS]


def _declared(server: Server, modules: Mapping[str, ModuleType]) -> Declarations:
    catalogue = server.hub.catalogue
    topics: dict[str, Place | None] = {
        name: None if topic.where is None else Place(topic.where.file, topic.where.line)
        for name, topic in {**catalogue.topics, **catalogue.templates}.items()
        if topic.template is None
    }
    names = [
        ((module_name, name), value)
        for module_name, module in modules.items()
        for name, value in vars(module).items()
    ]
    return Declarations(
        topics,
        {name: value.name for name, value in names if isinstance(value, Topic)},
        frozenset(name for name, value in names if isinstance(value, Server)),
    )


def is_same_code(before: Mapping[str, Source], changed: Contents) -> bool:
    """Whether what changed in these files are only comments, docstrings and the like."""
    names = {Path(source.path): name for name, source in before.items()}
    try:
        for path, content in changed.items():
            name = names.get(path)
            if name is None or content is None:
                return False
            text = importlib.util.decode_source(content)
            if _code(name, replace(before[name], text=text)) != _code(name, before[name]):
                return False
    except (SyntaxError, UnicodeError, ValueError):
        return False
    return True


def _code(name: str, source: Source) -> list[str]:
    return [statement.digest for statement in Module(name, source).statements]


@contextmanager
def reloading(target: Target, before: Loaded) -> Generator[Loaded]:
    """Load a config file again; a block that fails leaves the modules as they were.

    The file itself is executed again, and the modules beside it that have changed, or that import
    one that has. Raises `ConfigError`.
    """
    main = main_path(before.config)
    kept = own_modules(main)
    try:
        for name in _outdated(before):
            sys.modules.pop(name, None)
        for module in kept.values():
            _forget_compiled(Path(str(module.__file__)))
        linecache.checkcache()
        config = load(target.file)
        yield loaded(config, config.find(Server, target.name))
    except BaseException:
        for name in own_modules(main):
            del sys.modules[name]
        sys.modules.update(kept)
        raise


def _outdated(before: Loaded) -> set[str]:
    """The modules whose files have changed, and those that import them, to the end."""
    sources = before.sources
    imports = {name: Module(name, source).imported for name, source in sources.items()}
    now = read_files(before.contents)
    outdated = {
        name
        for name, source in sources.items()
        if now[Path(source.path)] != before.contents[Path(source.path)]
    }
    while True:
        more = {name for name, imported in imports.items() if imported & outdated} - outdated
        if not more:
            return outdated
        outdated |= more


def _forget_compiled(path: Path) -> None:
    """Remove the compiled form: Python tells it from an outdated one by whole seconds only."""
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
