"""Standard output as JSON lines and nothing else, for machines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeAlias

import msgspec

Write: TypeAlias = Callable[[dict[str, Any]], None]


@contextmanager
def json_lines() -> Generator[Write]:
    """What writes an object as a line; whatever else is printed goes to standard error."""
    output = sys.stdout.buffer

    def write(value: dict[str, Any]) -> None:
        output.write(msgspec.json.encode(value) + b"\n")
        output.flush()

    with redirect_stdout(sys.stderr):
        yield write
