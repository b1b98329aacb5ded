"""``penstock serve``: run a config file's server under Hypercorn."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from penstock.config import ConfigError, load, parse_target

from .server import Server, install_guard

if TYPE_CHECKING:
    from hypercorn.config import Config, Sockets

_ACCEPTORS = 8
_FORCED_PATIENCE = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@click.command(epilog="Example:  penstock serve pipelines.py --bind 127.0.0.1:9000")
@click.argument("target", metavar="FILE[:NAME]")
@click.option(
    "--bind", default="127.0.0.1:8000", show_default=True, help="HOST:PORT; port 0 takes a free one"
)
@click.option("--insecure", is_flag=True, help="allow binding beyond loopback without auth")
@click.option(
    "--grace", type=click.FloatRange(min=0), metavar="SECONDS", help="time to end; default 10"
)
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning"]))
def serve(target: str, bind: str, insecure: bool, grace: float | None, log_level: str) -> None:
    """Serve the topics of a config file over HTTP and WebSocket.

    FILE defines one penstock_server.Server, or NAME says which. SIGTERM or Ctrl-C ends it cleanly:
    producers end, clients are told, exit 0; a second one ends it at once.
    """
    host, port = parse_bind(bind)
    if not insecure and not _is_loopback(host):
        raise click.UsageError(
            f"--bind {bind} can be reached from other machines, and this server asks nobody who"
            " they are; bind to 127.0.0.1, or say --insecure"
        )
    try:
        wanted = parse_target(target)
        server = load(wanted.file).find(Server, wanted.name)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    if grace is not None:
        server.hub.timing = replace(server.hub.timing, grace=grace)
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    install_guard()
    try:
        sys.exit(trio.run(_serve_until_told, server, host, port))
    except OSError as error:
        click.echo(f"error: can't serve on {bind}: {error.strerror or error}", err=True)
        sys.exit(1)


def parse_bind(bind: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; no host is loopback. Raises `click.BadParameter`."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{bind!r} is not HOST:PORT", param_hint="--bind")
    return host.strip("[]") or "127.0.0.1", int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hypercorn_config(server: Server, host: str, port: int) -> Config:
    """Hypercorn's settings for a server: long streams, many connections, no idle waiting."""
    from hypercorn.config import Config

    class ManyAcceptors(Config):
        """Trio accepts one connection a scheduler pass on each listener: have several of them."""

        def create_sockets(self) -> Sockets:
            sockets = super().create_sockets()
            for kind in (sockets.secure_sockets, sockets.insecure_sockets):
                kind += [each.dup() for each in kind for _ in range(_ACCEPTORS - 1)]
            return sockets

    config = ManyAcceptors()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.backlog = 2048
    config.graceful_timeout = server.hub.timing.grace
    config.keep_alive_timeout = 30.0
    config.websocket_max_message_size = server.limits.max_message_bytes
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


def _settle_garbage_collection() -> None:
    """Take what was imported out of garbage collection's sight, and let it look less often.

    Each write to a reader makes a few short-lived objects, so the default of 700 allocations looks
    through all connections many times a second: a fifth of the time with 500 readers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _exit_soon() -> None:
    """End the process in a moment, whatever write or cleanup is shielded from cancellation."""
    exit_now = threading.Timer(_FORCED_PATIENCE, os._exit, (1,))
    exit_now.daemon = True
    exit_now.start()


async def _serve_until_told(server: Server, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end, 1 where a second signal cut it short."""
    # Its type knows WSGI's dict without parameters.
    from hypercorn.trio import serve as hypercorn_serve  # pyright: ignore[reportUnknownVariableType]

    stop = trio.Event()
    forced = False

    config = hypercorn_config(server, host, port)
    config.graceful_timeout = server.hub.timing.grace / 2  # the producers have the other half

    async def wait_and_drain() -> None:
        await stop.wait()
        server.hub.begin_drain()
        # Until then connections are accepted, so that a load balancer can see that we go.
        await server.hub.producers_ended()

    async with trio.open_nursery() as nursery:
        run = partial(
            hypercorn_serve,
            server,
            config,
            shutdown_trigger=wait_and_drain,
        )

        async def run_and_leave(
            task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            await run(task_status=task_status)
            nursery.cancel_scope.cancel("the server has ended")

        with trio.open_signal_receiver(*_SIGNALS) as signals:
            binds: list[str] = await nursery.start(run_and_leave)
            _settle_garbage_collection()
            for address in dict.fromkeys(binds):
                click.echo(f"penstock: serving on {address}", err=True)
            async for _ in signals:
                if stop.is_set():
                    forced = True
                    nursery.cancel_scope.cancel("told to end at once")
                    _exit_soon()
                stop.set()
    return 1 if forced else 0
