"""The corrected classes stand where Hypercorn looks them up, for versions that were checked."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from penstock_server.hypercorn_guard import (
    _install,
    context_of,
    install,
    websocket_of,
)

from .applications import Silent
from .serving import get, names, serving
from .websocket_client import WebSocketClient


@pytest.mark.usefixtures("plain")
def test_another_version_is_left_alone() -> None:
    before = names()

    assert not _install._install_on("0.19.0")

    assert names() == before


@pytest.mark.usefixtures("plain")
def test_install_is_idempotent_and_can_be_undone() -> None:
    before = names()

    assert install()
    after = names()
    assert install()
    assert names() == after
    assert all(
        new is not old and issubclass(new, old) for new, old in zip(after, before, strict=True)
    )

    _install._uninstall()
    assert names() == before


@pytest.mark.usefixtures("plain")
async def test_plain_hypercorn_has_no_context_and_no_websocket() -> None:
    app = Silent()
    async with serving(app) as server:
        await WebSocketClient.open(server)
        assert context_of(app.send) is None
        assert websocket_of(app.send) is None


@pytest.mark.usefixtures("guarded")
async def test_a_wrapped_send_has_no_context_and_no_websocket() -> None:
    app = Silent()
    async with serving(app) as server:
        await WebSocketClient.open(server)
        assert app.send is not None
        assert context_of(app.send) is not None
        assert websocket_of(app.send) is not None
        assert context_of(partial(app.send)) is None
        assert websocket_of(partial(app.send)) is None


APP_OF_ITS_OWN = """
from penstock_server.hypercorn_guard import install

assert install()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
"""


async def test_the_command_of_hypercorn_ends_within_its_grace(tmp_path: Path) -> None:
    (tmp_path / "flood.py").write_text(APP_OF_ITS_OWN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hypercorn", "-k", "trio", "-b", f"127.0.0.1:{port}"]
    process = await trio.lowlevel.open_process(
        [*command, "--graceful-timeout", "1", "flood:app"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(15):
            client = await connect_when_up(port)
            await client.send_all(get())
            await client.receive_some()
            await trio.sleep(0.3)  # it fills the buffers; nothing tells when
            process.send_signal(signal.SIGTERM)
            with trio.fail_after(4):
                assert await process.wait() == 0
            await client.aclose()
    finally:
        process.kill()
        await process.wait()


async def connect_when_up(port: int) -> trio.SocketStream:
    while True:
        try:
            return await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
