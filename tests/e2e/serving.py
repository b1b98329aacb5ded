"""Real server processes for tests: started, watched and, whatever happens, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path(__file__).resolve().parent / "configs"

SERVE = (sys.executable, "-m", "penstock.cli", "serve")
"""The command of ``penstock serve``; what follows are its arguments."""

HYPERCORN = (sys.executable, "-m", "hypercorn", "-k", "trio", "--bind", "127.0.0.1:0")

MIB = 1 << 20

_SERVING = re.compile(r"(?:serving|Running) on https?://([0-9.]+):(\d+)")
_START_TIMEOUT = 20.0
_PATIENCE = 10.0


_REAPER = """
import os, signal, sys
alive = set()
for group in map(int, sys.stdin):
    alive ^= {group}
for group in alive:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Reaper:
    """Ends the servers of a test run that was itself killed, and so could not.

    It is a process that reads a pipe of ours to its end, which comes with the end of this process.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-c", _REAPER),
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def note(self, group: int) -> None:
        """Say that a process group has been started; and again, that it has ended."""
        assert self._process.stdin is not None
        print(group, file=self._process.stdin, flush=True)

    def close(self) -> None:
        self._process.communicate(timeout=_PATIENCE)


class ServerProcess:
    """A server that runs in a process of its own, and the children of that one."""

    def __init__(self, command: Sequence[str], log: Path, reaper: Reaper) -> None:
        self.log = log
        self._reaper = reaper
        # A connection for each request, so that no test depends on what another left behind.
        fresh = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(timeout=_PATIENCE, limits=fresh, trust_env=False)
        self._tracebacks = 0
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        reaper.note(self.process.pid)
        try:
            self.host, self.port = self._wait_until_serving()
        except BaseException:
            self.kill()
            raise

    def _wait_until_serving(self) -> tuple[str, int]:
        def address() -> re.Match[str] | None:
            assert self.process.poll() is None, f"the server did not start:\n{self.stderr}"
            return _SERVING.search(self.stderr)

        found = eventually(address, _START_TIMEOUT)
        return found[1], int(found[2])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://{self.host}:{self.port}/ws"

    @property
    def stderr(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def rss(self) -> int:
        """Bytes of memory that it takes, with its children."""
        top = psutil.Process(self.process.pid)
        return sum(each.memory_info().rss for each in [top, *top.children(recursive=True)])

    @property
    def cpu_seconds(self) -> float:
        """What it has computed so far, which doesn't grow while others have the processor."""
        spent = psutil.Process(self.process.pid).cpu_times()
        return float(spent.user + spent.system)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(self.url + path, **options)

    def post(self, topic: str, value: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """Publish one value as JSON."""
        content = json.dumps(value).encode()
        headers = {"content-type": "application/json", **(headers or {})}
        return self.client.post(f"{self.url}/topics/{topic}", content=content, headers=headers)

    def post_body(self, topic: str, body: Any, kind: str, **headers: str) -> httpx.Response:
        """Publish a body as it is, of that content type."""
        return self.client.post(
            f"{self.url}/topics/{topic}", content=body, headers={"content-type": kind, **headers}
        )

    def stats(self) -> Any:
        return self.get("/stats").json()

    def cursor(self, topic: str) -> str:
        """Where the topic is right now."""
        page = self.get(f"/topics/{topic}?format=json&after=latest").json()
        return str(page["next"])

    def assert_unharmed(self) -> None:
        """It answers, and at once."""
        started = time.monotonic()
        assert self.get("/health/ready").status_code == 200
        assert time.monotonic() - started < 1.0

    def has_new_traceback(self) -> bool:
        """Whether its log has one more than at the last call."""
        before, self._tracebacks = self._tracebacks, self.stderr.count("Traceback")
        return self._tracebacks > before

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Its exit code. Raises ``subprocess.TimeoutExpired``."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End all of it, at once."""
        self.client.close()
        with suppress(ProcessLookupError):  # it has ended already, and so has every child
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_PATIENCE)
        self._reaper.note(self.process.pid)


@contextmanager
def serving(command: Sequence[str], log: Path, reaper: Reaper) -> Generator[ServerProcess]:
    """A server process while the block runs."""
    server = ServerProcess(command, log, reaper)
    try:
        yield server
    finally:
        server.kill()


def eventually(look: Callable[[], T | None], timeout: float = 5.0) -> T:
    """What `look` gives once it is true. Fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {timeout} s; last: {seen!r}"
        time.sleep(0.01)
    return seen
