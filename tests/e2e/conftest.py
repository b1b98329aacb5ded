"""Servers for the tests; a failing test shows what they said, and none may say Traceback."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest

from .browser import browser as browser
from .browser import page as page
from .serving import CONFIGS, HYPERCORN, SERVE, Reaper, ServerProcess, serving

StartServer: TypeAlias = Callable[..., ServerProcess]
Launch: TypeAlias = Callable[[ExitStack, tuple[str, ...]], ServerProcess]

_RUNNING = pytest.StashKey[list[ServerProcess]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUNNING] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for server in item.config.stash[_RUNNING]:
            report.sections.append((f"server on port {server.port}", server.stderr[-8_000:]))
    return report


@pytest.fixture(autouse=True)
def no_server_says_traceback(pytestconfig: pytest.Config) -> Iterator[None]:
    yield
    for server in pytestconfig.stash[_RUNNING]:
        assert not server.has_new_traceback()


@pytest.fixture(scope="session")
def launch(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    """Runs a command until the given stack is closed."""
    reaper = Reaper()
    running = pytestconfig.stash[_RUNNING]
    logs, numbers = tmp_path_factory.mktemp("servers"), count()

    def start(stack: ExitStack, command: tuple[str, ...]) -> ServerProcess:
        server = stack.enter_context(serving(command, logs / f"{next(numbers)}.log", reaper))
        running.append(server)
        stack.callback(_retire, running, server)
        return server

    with closing(reaper):
        yield start


@pytest.fixture(scope="session")
def server(launch: Launch) -> Iterator[ServerProcess]:
    """The one that all harmless tests share, of ``configs/topics.py``."""
    with ExitStack() as stack:
        yield launch(stack, _serve("topics.py"))


@pytest.fixture
def start_server(launch: Launch) -> Iterator[StartServer]:
    """Starts servers of one's own: ``start_server("fast.py", "--grace", "1")``."""
    with ExitStack() as stack:

        def start(config: str, *options: str) -> ServerProcess:
            return launch(stack, _serve(config, *options))

        yield start


@pytest.fixture
def start_hypercorn(launch: Launch) -> Iterator[StartServer]:
    """Starts the plain Hypercorn: ``start_hypercorn("examples.machine:server")``."""
    with ExitStack() as stack:

        def start(application: str, *options: str) -> ServerProcess:
            return launch(stack, (*HYPERCORN, *options, application))

        yield start


def _retire(running: list[ServerProcess], server: ServerProcess) -> None:
    running.remove(server)
    assert not server.has_new_traceback()


def _serve(config: str, *options: str) -> tuple[str, ...]:
    path: Path = CONFIGS / config
    return (*SERVE, str(path), "--bind", "127.0.0.1:0", *options)
