"""Writing a file atomically: a temporary file beside the target, renamed at the end of the run.

The sink fills it and makes it durable; the run, once all of it has ended well, gives it its name,
or else removes it. So a run that fails or is cancelled leaves the old file, or none, never half of
one, whichever of its stages it was.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from .. import _options as options
from .._spec import Claim, Receiver, Sink, Tally, TaskSink, Traits
from .targets import Target, is_replaced, open_target, real_path

Fill: TypeAlias = Callable[[Target, Receiver[Any]], Awaitable[int]]

_INSTEAD = "one would replace what the other wrote: give each a file of its own"


def check_target(stage: str, path: Any) -> None:
    """Demand a path."""
    if not isinstance(path, str | os.PathLike):
        raise options.refuse(stage, f"path must be a path, got {path!r}")


def file_sink(stage: str, path: Any, fill: Fill) -> Sink[Any, int]:
    """The sink that lets ``fill`` write a new file; the result is what that returns."""
    op = TaskSink(partial(_write, Path(path), fill))
    return Sink(f"{stage}({Path(path).name})", op, traits_of_file(Path(path)))


def traits_of_file(path: Path) -> Traits:
    """What is known of a sink that writes a file: two of a run must not write the same."""
    try:
        is_file = is_replaced(path)
    except OSError:  # told when it runs
        is_file = True
    if not is_file:
        return Traits()
    return Traits(at_end="the file", claim=Claim(str(real_path(path)), "writes", _INSTEAD))


async def _write(path: Path, fill: Fill, receive: Receiver[Any], tally: Tally) -> Any:
    async with open_target(path) as target:
        return await target.finish(await fill(target, receive))
