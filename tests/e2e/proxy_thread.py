"""The faulty proxy for tests that are not Trio's: in a thread of its own, driven by plain calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import trio

from .faulty_proxy import Fault, FaultyProxy, faulty_proxy
from .serving import ServerProcess


class ProxyThread:
    """A running proxy, as a thread that isn't Trio's sees it."""

    def __init__(self, proxy: FaultyProxy, token: trio.lowlevel.TrioToken) -> None:
        self._proxy = proxy
        self._token = token

    @property
    def url(self) -> str:
        return self._proxy.url()

    def call(self, function: Callable[..., None], *arguments: Fault) -> None:
        """Call a function in the proxy's thread."""
        trio.from_thread.run_sync(function, *arguments, trio_token=self._token)

    def then(self, *faults: Fault) -> None:
        """What the next connections get."""
        self.call(self._proxy.then, *faults)

    def reset_all(self) -> None:
        """Reset all open connections."""
        self.call(self._proxy.reset_all)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody listens while the block runs, and all connections are reset."""
        outage = self._proxy.down()
        trio.from_thread.run(outage.__aenter__, trio_token=self._token)
        try:
            yield
        finally:
            trio.from_thread.run(outage.__aexit__, None, None, None, trio_token=self._token)


@contextmanager
def proxy_thread(server: ServerProcess) -> Iterator[ProxyThread]:
    """A proxy to that server while the block runs; nobody may connect any more when it ends."""
    ready: SimpleQueue[ProxyThread] = SimpleQueue()
    over = trio.Event()

    async def serve() -> None:
        async with faulty_proxy(server.host, server.port) as proxy:
            ready.put(ProxyThread(proxy, trio.lowlevel.current_trio_token()))
            await over.wait()
            proxy.reset_all()
            await proxy.wait_for(lambda proxy: proxy.open == 0)

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    proxy = ready.get(timeout=10)
    try:
        yield proxy
    finally:
        proxy.call(over.set)
        thread.join()
