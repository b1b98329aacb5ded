"""A file as a module that a fresh process can import by its name.

Functions are pickled by name into worker processes, which get this process's ``sys.path`` and
import the module anew. So the file is imported as an ordinary module:

- under its stem, its folder first on ``sys.path``, as when Python runs a script;
- where the stem belongs to another module (``json.py``, a second ``pipelines.py``), under the
  folder's name and the stem (``config.json``). The folders then go last on ``sys.path``, so that
  the other module is not shadowed for those who want it, here and in the workers.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType


class NotImportable(Exception):
    """The file's name can't be that of a module; the text says why."""


def import_file(path: Path) -> ModuleType:
    """Import the file, anew if it was before; the module is in ``sys.modules`` while it runs.

    ``sys.path`` keeps its folder. Raises what the file raises, and `NotImportable`; either leaves
    ``sys.path`` and ``sys.modules`` without it.
    """
    before = sys.path.copy()
    try:
        name = _importable_name(path)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return importlib.import_module(name)
    except BaseException:
        sys.path[:] = before
        raise


def _importable_name(path: Path) -> str:
    """The module name of the file; makes ``sys.path`` such that it leads there."""
    if "." in path.stem:
        raise NotImportable("a module's name has no dot")
    folder = str(path.parent)
    owner = _owner_of_stem(path)
    if owner is None:
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
        return path.stem
    sys.path.extend(each for each in (folder, str(path.parent.parent)) if each not in sys.path)
    name = f"{path.parent.name}.{path.stem}"
    if not _leads_to(name, path):
        raise NotImportable(f"the name {path.stem} is taken by {owner}")
    return name


def _owner_of_stem(path: Path) -> str | None:
    """What else a process that imports the stem would get; None where it gets the file."""
    stem = path.stem
    loaded = sys.modules.get(stem)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
        return None if origin == str(path) else origin or f"Python's own module {stem}"
    if stem in sys.stdlib_module_names:
        return f"Python's own module {stem}"
    elsewhere = [each for each in sys.path if Path(each).resolve() != path.parent]
    for search in ([str(path.parent)], elsewhere):
        found = PathFinder.find_spec(stem, search)
        # A namespace package has no origin and gives way to a module.
        if found is not None and found.origin not in (None, str(path)):
            return found.origin
    return None


def _leads_to(name: str, path: Path) -> bool:
    folder, _, _ = name.partition(".")
    if not folder:
        return False
    package = PathFinder.find_spec(folder)
    if package is None or package.submodule_search_locations is None:
        return False
    found = PathFinder.find_spec(name, package.submodule_search_locations)
    return found is not None and found.origin is not None and Path(found.origin) == path
