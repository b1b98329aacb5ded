"""One server and one of each proxy for all tests that leave them as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from ..e2e.serving import SERVE, Reaper, ServerProcess, serving
from .running import Proxy, free_port, running

PROXIES = ("nginx", "caddy", "haproxy")

Behind: TypeAlias = Callable[..., AbstractContextManager[tuple[ServerProcess, Proxy]]]
StartServer: TypeAlias = Callable[..., AbstractContextManager[ServerProcess]]

_HERE = Path(__file__).parent


@pytest.fixture(scope="session", params=PROXIES)
def proxy_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Runs ``penstock serve`` for a block: ``with serve("served.py", port=0) as server``."""
    logs = tmp_path_factory.mktemp("servers")
    with closing(Reaper()) as reaper:

        def start(config: str, port: int = 0) -> AbstractContextManager[ServerProcess]:
            command = (*SERVE, str(_HERE / config), "--bind", f"127.0.0.1:{port}")
            log = logs / f"{len(list(logs.iterdir()))}.log"
            return serving(command, log, reaper)

        yield start


@pytest.fixture(scope="session")
def behind(proxy_name: str, serve: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Behind:
    """A server of one's own with the proxy in front, for a block: ``with behind("served.py")``."""

    @contextmanager
    def both(config: str) -> Iterator[tuple[ServerProcess, Proxy]]:
        port = free_port()
        with serve(config, port) as server:
            folder = tmp_path_factory.mktemp(proxy_name)
            with running(proxy_name, port, folder) as proxy:
                yield server, proxy

    return both


@pytest.fixture(scope="session")
def pair(behind: Behind) -> Iterator[tuple[ServerProcess, Proxy]]:
    with ExitStack() as stack:
        yield stack.enter_context(behind("served.py"))


@pytest.fixture
def server(pair: tuple[ServerProcess, Proxy]) -> ServerProcess:
    return pair[0]


@pytest.fixture
def proxy(pair: tuple[ServerProcess, Proxy]) -> Proxy:
    return pair[1]
