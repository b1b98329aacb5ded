"""The servers that are compared: penstock and its peers, each started by a line of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .machine import version_of
from .processes import free_port, running, wait_for_port

BENCHMARKS = Path(__file__).parent.parent
INSTALLED = BENCHMARKS / ".peers"
PEERS = BENCHMARKS / "peers"
SERVE = "from penstock_server.commands import serve; serve()"
SETTLE_SECONDS = 0.5
SUBSCRIBE = '[{"type":"subscribe","topic":"ticks"}]'


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate that openssl has made for the run."""

    file: str
    key: str


@dataclass(frozen=True)
class Setting:
    """What a server is started with; a `rate` of 0 is as fast as the readers take.

    The peers wait for that many readers before their first event, so that a server that is too
    slow for the load gets them connected at all.
    """

    port: int
    rate: float
    readers: int
    folder: Path
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Contender:
    """A server and what the client needs to know of it.

    Attributes:
        name: as the tables show it.
        command: what starts it.
        path: where its events are read.
        client: further options of the client.
        environment: further variables.
        publish_path: where an outside process must publish the paced events; "" where the server
            makes them itself.
        ready_path: asked once before the load, since a first request has costs of its own.
        needs: the file without which it isn't installed.
    """

    name: str
    command: Callable[[Setting], list[str]]
    path: str
    client: dict[str, str] = field(default_factory=dict[str, str])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    publish_path: str = ""
    ready_path: str = ""
    needs: Path | None = None

    @property
    def installed(self) -> bool:
        """Whether it can be started here."""
        return self.needs is None or self.needs.exists()


@dataclass(frozen=True)
class Served:
    """A running server."""

    process: psutil.Process
    port: int


def _penstock_command(setting: Setting) -> list[str]:
    config = str(BENCHMARKS / "fanout_topic.py")
    command = [sys.executable, "-c", SERVE, config, "--bind", f"127.0.0.1:{setting.port}"]
    if setting.certificate is not None:
        files = setting.certificate
        command += ["--certfile", files.file, "--keyfile", files.key]
    return command


def penstock(topic: str = "ticks", **environment: str) -> Contender:
    """Penstock's event stream; `environment` is told to fanout_topic.py."""
    return Contender(
        "penstock",
        _penstock_command,
        f"/topics/{topic}",
        environment={"FANOUT_TOPIC": topic, **environment},
        ready_path="/health/ready",
    )


def penstock_websocket(topic: str = "ticks") -> Contender:
    """Penstock's WebSocket, subscribed to one topic."""
    return Contender(
        "penstock",
        _penstock_command,
        "/ws",
        client={
            "websocket": "1",
            "protocol": "penstock.v1.json",
            "message": SUBSCRIBE.replace("ticks", topic),
        },
        environment={"FANOUT_TOPIC": topic},
        ready_path="/health/ready",
    )


def _nginx() -> str:
    unpacked = INSTALLED / "nginx/usr/sbin/nginx"
    return str(unpacked) if unpacked.exists() else shutil.which("nginx") or "/usr/sbin/nginx"


NCHAN_MODULE = INSTALLED / "nginx/usr/lib/nginx/modules/ngx_nchan_module.so"


def _nchan_command(setting: Setting) -> list[str]:
    words = {
        "@module": str(NCHAN_MODULE),
        "@folder": str(setting.folder),
        "@port": str(setting.port),
        "@user": "user root;" if os.geteuid() == 0 else "",
    }
    text = (PEERS / "nginx.conf.template").read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    config = setting.folder / "nginx.conf"
    config.write_text(text)
    return [_nginx(), "-e", str(setting.folder / "error.log"), "-c", str(config)]


def nchan(**client: str) -> Contender:
    """nginx with nchan; an outside process publishes to it over HTTP."""
    return Contender(
        "nchan", _nchan_command, "/ticks", client, publish_path="/publish", needs=NCHAN_MODULE
    )


def _node_command(setting: Setting) -> list[str]:
    numbers = [str(setting.port), str(setting.rate), str(setting.readers)]
    return ["node", str(PEERS / "node_ws.js"), *numbers]


def node_ws() -> Contender:
    """Node's ``ws``."""
    folder = INSTALLED / "node"
    environment = {"PEERS_NODE": str(folder)}
    needs = folder / "node_modules/ws"
    return Contender("Node ws", _node_command, "/", {"websocket": "1"}, environment, needs=needs)


PEERS_PYTHON = INSTALLED / "python/bin/python"


def _python_command(script: str) -> Callable[[Setting], list[str]]:
    def command(setting: Setting) -> list[str]:
        files = setting.certificate
        certificate = [] if files is None else [files.file, files.key]
        numbers = [str(setting.port), str(setting.rate), str(setting.readers)]
        return [str(PEERS_PYTHON), str(PEERS / script), *numbers, *certificate]

    return command


def websockets() -> Contender:
    """``websockets`` with its ``broadcast``."""
    command = _python_command("websockets_broadcast.py")
    return Contender("websockets", command, "/", {"websocket": "1"}, needs=PEERS_PYTHON)


def sse_starlette() -> Contender:
    """sse-starlette on uvicorn."""
    command = _python_command("sse_starlette_app.py")
    return Contender("sse-starlette", command, "/ticks", needs=PEERS_PYTHON)


@contextlib.contextmanager
def serving(
    contender: Contender, rate: float, core: int | None, *, readers: int = 0, tls: bool = False
) -> Generator[Served]:
    """A contender, accepting connections. Raises `SystemExit` with its log where it doesn't."""
    with tempfile.TemporaryDirectory(prefix="fanout-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        certificate = make_certificate(folder) if tls else None
        setting = Setting(free_port(), rate, readers, folder, certificate)
        environment = {**os.environ, "FANOUT_RATE": str(rate), **contender.environment}
        log = folder / "log"
        command = contender.command(setting)
        with (
            log.open("w") as output,
            running(command, core, stdout=output, stderr=output, env=environment) as process,
        ):
            if not wait_for_port(setting.port, process):
                raise SystemExit(f"{contender.name} didn't start:\n{log.read_text()}")
            if contender.ready_path:
                _ask(setting, contender.ready_path)
            time.sleep(SETTLE_SECONDS)
            yield Served(psutil.Process(process.pid), setting.port)


def _ask(setting: Setting, path: str) -> bytes:
    scheme = "http" if setting.certificate is None else "https"
    unchecked = ssl._create_unverified_context()  # noqa: SLF001  # our own certificate
    url = f"{scheme}://127.0.0.1:{setting.port}{path}"
    with urllib.request.urlopen(url, timeout=10, context=unchecked) as answer:
        body: bytes = answer.read()
        return body


def make_certificate(folder: Path) -> Certificate:
    """A self-signed certificate for the loopback, made by the openssl command."""
    files = Certificate(str(folder / "certificate.pem"), str(folder / "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", files.key, "-out", files.file]
    subprocess.run(command, check=True, capture_output=True)
    return files


def versions() -> list[str]:
    """The versions of the peers, one a line."""
    python = str(PEERS_PYTHON)
    show = "import importlib.metadata as m; print(m.version('{}'))"
    names = ("websockets", "sse-starlette", "uvicorn", "uvloop", "httptools")
    found = {name: version_of([python, "-c", show.format(name)]) for name in names}
    read_ws = "console.log(require(process.argv[1] + '/node_modules/ws/package.json').version)"
    ws = version_of(["node", "-e", read_ws, str(INSTALLED / "node")])
    nginx = subprocess.run([_nginx(), "-v"], capture_output=True, text=True, check=False).stderr
    return [
        f"nginx: {nginx.strip().removeprefix('nginx version: ')} with nchan {_nchan_version()}",
        f"Node: {version_of(['node', '--version'])} with ws {ws}",
        *(f"{name}: {version}" for name, version in found.items()),
    ]


def _nchan_version() -> str:
    """What Debian calls the package that was unpacked, from its own change log's name."""
    note = INSTALLED / "nginx/version"
    return note.read_text().strip() if note.exists() else "not installed"
