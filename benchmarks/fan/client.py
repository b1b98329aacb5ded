"""The client in C: compiled once, run on its own core."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Generator
from typing import Any

from .contenders import BENCHMARKS, INSTALLED
from .processes import running

SOURCE = BENCHMARKS / "client"
BINARY = INSTALLED / "fanout_client"


def build() -> None:
    """Compile the client where it is older than its source. Raises `SystemExit` where that fails.

    Without OpenSSL's headers it is compiled without TLS.
    """
    sources = sorted(SOURCE.glob("*.c"))
    newest = max(path.stat().st_mtime for path in [*sources, SOURCE / "client.h"])
    if BINARY.exists() and BINARY.stat().st_mtime > newest:
        return
    INSTALLED.mkdir(exist_ok=True)
    compiler = ["cc", "-O2", "-Wall", "-o", str(BINARY), *map(str, sources)]
    said = ""
    for ending in (["-lssl", "-lcrypto"], ["-DWITHOUT_TLS"]):
        done = subprocess.run([*compiler, *ending], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        said = done.stderr
    raise SystemExit(f"the client can't be compiled; it needs a C compiler named cc:\n{said}")


class Client:
    """A running client and the lines of JSON that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> dict[str, Any]:
        """Its next line. Raises `SystemExit` where it has given up; it has said why."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the fan-out client gave up; what it said is above")
        told: dict[str, Any] = json.loads(line)
        return told


@contextlib.contextmanager
def client(core: int | None, **options: str | float) -> Generator[Client]:
    """Run the client with options of ``benchmarks/client/main.c``."""
    command = [str(BINARY), *(f"{name}={value}" for name, value in options.items())]
    with running(command, core, stdout=subprocess.PIPE) as process:
        yield Client(process)
