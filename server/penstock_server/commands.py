"""``penstock serve``: run a config file's server under Hypercorn."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
import trio

from penstock import PenstockError
from penstock.config import ConfigError, ConfigFile, Target, load, parse_target

from .logs import LogFormat, configure_logging
from .server import Server, install_guard
from .tls import Certificate, read_certificate
from .workers import SEVERAL_WORKERS

if TYPE_CHECKING:
    from hypercorn.config import Config, Sockets

    from .hypercorn_guard import GuardedContext

logger = logging.getLogger("penstock.server")

Task: TypeAlias = Callable[[], Awaitable[None]]

_ACCEPTORS = 8
_FORCED_PATIENCE = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FILE = click.Path(path_type=Path)


def _only_one_worker(_context: click.Context, _option: click.Parameter, workers: int) -> int:
    if workers != 1:
        raise click.UsageError(f"--workers {workers}: {SEVERAL_WORKERS}")
    return workers


def _is_number(_context: click.Context, _option: click.Parameter, value: float | None) -> Any:
    if value is not None and isnan(value):
        raise click.BadParameter("nan is not a number of seconds")
    return value


@click.command(epilog="Example:  penstock serve pipelines.py --bind 127.0.0.1:9000")
@click.argument("target", metavar="FILE[:NAME]")
@click.option(
    "--bind", default="127.0.0.1:8000", show_default=True, help="HOST:PORT; port 0 takes a free one"
)
@click.option("--certfile", type=_FILE, help="serve HTTPS with this certificate (PEM)")
@click.option("--keyfile", type=_FILE, help="the certificate's private key (PEM)")
@click.option("--insecure", is_flag=True, help="allow binding beyond loopback without auth")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    callback=_is_number,
    help="time to end; default 10",
)
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning"]))
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="json: one JSON object a line; default text, or what FILE has set up itself",
)
@click.option("--workers", type=int, default=1, callback=_only_one_worker, help="only 1")
@click.option("--reload", is_flag=True, help="for development: follow the changes of FILE")
def serve(
    target: str,
    bind: str,
    certfile: Path | None,
    keyfile: Path | None,
    insecure: bool,
    grace: float | None,
    log_level: str,
    log_format: LogFormat | None,
    workers: int,
    reload: bool,
) -> None:
    """Serve the topics of a config file over HTTP and WebSocket.

    FILE defines one penstock_server.Server, or NAME says which. SIGTERM or Ctrl-C ends it cleanly:
    producers end, clients are told, exit 0; a second one ends it at once.
    """
    host, port = parse_bind(bind)
    try:
        wanted = parse_target(target)
        config = load(wanted.file)
        server = config.find(Server, wanted.name)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    if not insecure and server.auth is None and not _is_loopback(host):
        raise click.UsageError(
            f"--bind {bind} can be reached from other machines, and this server asks nobody who"
            " they are; give it auth=, bind to 127.0.0.1, or say --insecure"
        )
    try:
        certificate = read_certificate(certfile, keyfile)
    except PenstockError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    if grace is not None:
        server.hub.timing = replace(server.hub.timing, grace=grace)
    # A config file that sets up its own logging is left to it, unless a format is asked for.
    if log_format is not None or not logging.getLogger().hasHandlers():
        configure_logging(log_level, log_format or "text")
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    if server.auth is not None and certificate is None and not _is_loopback(host):
        logger.warning(
            "tokens come to %s in clear text: end TLS in a proxy before it, or give --certfile",
            bind,
        )
    install_guard()
    beside = _follow_changes(wanted, config, server) if reload else None
    try:
        sys.exit(trio.run(_serve_until_told, server, host, port, certificate, beside))
    except OSError as error:
        click.echo(f"error: can't serve on {bind}: {error.strerror or error}", err=True)
        sys.exit(1)
    except BaseExceptionGroup as group:
        failure = lifespan_failure(group)
        if failure is None:
            raise
        click.echo(f"error: the server can't start: {failure}", err=True)
        sys.exit(1)


def _follow_changes(target: Target, config: ConfigFile, server: Server) -> Task:
    """What reloads the file when it changes, while the server runs."""
    from .reload import Reloader

    say = partial(click.echo, err=True)
    say(
        "penstock: --reload is for development: at each change the file is run again, with all"
        " that it does at its top level"
    )
    return Reloader(target, config, server, say).run


def lifespan_failure(error: BaseException) -> str | None:
    """What the application said when it failed to start or end; None for any other error."""
    from hypercorn.utils import LifespanFailureError

    inner: Any = error
    failure = inner.subgroup(LifespanFailureError) if hasattr(inner, "subgroup") else inner
    while hasattr(failure, "exceptions"):
        failure = failure.exceptions[0]
    if not isinstance(failure, LifespanFailureError):
        return None
    return str(failure).partition(" '")[2].removesuffix("'")  # Lifespan failure in startup. '…'


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


def hypercorn_config(
    server: Server, host: str, port: int, certificate: Certificate | None = None
) -> Config:
    """Hypercorn's settings for a server: long streams, many connections, no idle waiting."""
    from hypercorn.config import Config

    from .connection_limits import limit_connections

    class ManyAcceptors(Config):
        """Trio accepts one connection a scheduler pass on each listener: have several of them."""

        def create_sockets(self) -> Sockets:
            sockets = super().create_sockets()
            for kind in (sockets.secure_sockets, sockets.insecure_sockets):
                kind += [each.dup() for each in kind for _ in range(_ACCEPTORS - 1)]
            return sockets

        def prepare_context(self, context: GuardedContext) -> None:
            """The limits hold from the first connection on."""
            limit_connections(server.hub, context)

    config = ManyAcceptors()
    if certificate is not None:
        config.certfile = str(certificate.certfile)
        config.keyfile = str(certificate.keyfile)
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.backlog = 2048
    config.graceful_timeout = server.hub.timing.grace
    config.keep_alive_timeout = 30.0
    config.keep_alive_max_requests = 100_000  # what it is for, floods of resets, is counted
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


async def _serve_until_told(
    server: Server,
    host: str,
    port: int,
    certificate: Certificate | None,
    beside: Task | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end, 1 where a second signal cut it short.

    `beside` is run while it serves.
    """
    # Its type knows WSGI's dict without parameters.
    from hypercorn.trio import serve as hypercorn_serve  # pyright: ignore[reportUnknownVariableType]

    stop = trio.Event()
    forced = False

    config = hypercorn_config(server, host, port, certificate)
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
            await server.hub.all_started.wait()  # Hypercorn goes on where that failed
            _settle_garbage_collection()
            for address in dict.fromkeys(binds):
                click.echo(f"penstock: serving on {address}", err=True)
            if beside is not None:
                nursery.start_soon(beside)
            async for _ in signals:
                if stop.is_set():
                    forced = True
                    nursery.cancel_scope.cancel("told to end at once")
                    _exit_soon()
                stop.set()
    return 1 if forced else 0
