"""From whatever a config file raised to the line of it that is to blame."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from traceback import walk_tb

from penstock._errors import PipelineError, describe
from penstock._install_hint import install_hint

from .errors import ConfigError

_NOT_IN_MODULE = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")


def blame(error: BaseException, path: Path, shown: str) -> ConfigError:
    """The `ConfigError` for ``error``, raised while the file at ``path`` ran.

    Its line is the innermost one of that file; ``shown`` is how the user named the file.
    """
    line = line_within(error, path)
    match error:
        case ConfigError():
            return error
        case PipelineError():
            if error.where is not None and is_file(error.where.file, path):
                line = error.where.line
            return ConfigError(shown, line, f"{error.stage}: {error.problem}")
        case SyntaxError() if error.filename and Path(error.filename).is_file():
            file = shown if is_file(error.filename, path) else display(Path(error.filename))
            return ConfigError(file, error.lineno or 1, f"{type(error).__name__}: {error.msg}")
        case SystemExit():
            return ConfigError(
                shown,
                line,
                f"it ends the program while it is loaded (SystemExit: {error.code!r})",
                "put what is not for penstock under: if __name__ == '__main__'",
            )
        case _:
            hint = install_hint(error) if isinstance(error, ImportError) else ""
    problem = f"{describe(error)}{_elsewhere(error, path)}"
    meant = suggestion(error)
    return ConfigError(shown, line, f"{problem}. {meant}" if meant else problem, hint)


def line_within(error: BaseException, path: Path) -> int:
    """The innermost line of the file that the error came through; 1 where it came through none."""
    lines = [
        line
        for frame, line in walk_tb(error.__traceback__)
        if is_file(frame.f_code.co_filename, path)
    ]
    return lines[-1] if lines else 1


def is_file(name: str, path: Path) -> bool:
    """Whether ``name``, as code objects have it, is the file at ``path``."""
    return name == str(path) or (
        not name.startswith("<") and Path(name).resolve() == path.resolve()
    )


def display(path: Path) -> str:
    """A path as people like to read it: relative where it is below the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``Did you mean: 'parse'?``, or an empty text where no name is close."""
    close = get_close_matches(name, [each for each in names if each != name], n=1)
    return f"Did you mean: {close[0]!r}?" if close else ""


def suggestion(error: BaseException) -> str:
    """The name that was probably meant by the one that wasn't found, as a question."""
    match error:
        case NameError(name=str(name)):
            frames = [frame for frame, _ in walk_tb(error.__traceback__)]
            known = {**frames[-1].f_globals, **frames[-1].f_locals} if frames else {}
            return did_you_mean(name, [*known, *dir(builtins)])
        case AttributeError(name=str(name)):
            return did_you_mean(name, dir(error.obj))
        case ImportError():
            found = _NOT_IN_MODULE.match(str(error))
            module = sys.modules.get(found[2]) if found else None
            return did_you_mean(found[1], dir(module)) if found and module else ""
        case _:
            return ""


def _elsewhere(error: BaseException, path: Path) -> str:
    """The line that raised, where it is in a neighbour of the config file."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    raised_in = Path(frame.f_code.co_filename)
    is_neighbour = raised_in != path and raised_in.is_relative_to(path.parent)
    installed = "site-packages" in raised_in.parts
    return f" (at {display(raised_in)}:{line})" if is_neighbour and not installed else ""
