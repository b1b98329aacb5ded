"""A server of penstock in a process of its own, for rows that need one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.serving import SERVE, Reaper, ServerProcess, serving

Served = ServerProcess


@contextmanager
def served(config: str) -> Generator[Served, None, None]:
    """A server of this config file's text, on a free port, while the block runs."""
    with TemporaryDirectory() as folder, closing(Reaper()) as reaper:
        file = Path(folder, "bench.py")
        file.write_text(config)
        command = (*SERVE, str(file), "--bind", "127.0.0.1:0")
        with serving(command, Path(folder, "log"), reaper) as server:
            yield server
