"""Real proxies in front of a real server, with the configurations of docs/deployment.md."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import httpx

from ..e2e.serving import eventually
from .snippets import snippet

TIMEOUT = 2
"""Seconds without a byte after which a proxy cuts a connection here; 60 on the page."""

NAME = "events.example.com"
_PATIENCE = 10.0


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs itself, for 127.0.0.1; `both` holds it with its key."""

    certificate: Path
    key: Path
    both: Path


@cache
def certificate(folder: Path) -> Certificate:
    made = Certificate(folder / "cert.pem", folder / "key.pem", folder / "both.pem")
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    request += ["-subj", "/CN=penstock-test"]
    names = ("-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(made.key), "-out", str(made.certificate))
    subprocess.run([*request, *names, *files], check=True, capture_output=True)
    made.both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Ports:
    """Where the proxy listens, and where the server does."""

    plain: int
    tls: int
    server: int


@dataclass(frozen=True)
class Proxy:
    """A running proxy: its plain and its TLS address, and what it wrote to its log."""

    name: str
    ports: Ports
    certificate: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.plain}"

    def client(self, *, http2: bool = False) -> httpx.Client:
        """A client of it; over TLS where it is to speak HTTP/2."""
        limits = httpx.Limits(max_keepalive_connections=0)
        if not http2:
            return httpx.Client(
                base_url=self.url, timeout=_PATIENCE, limits=limits, trust_env=False
            )
        trust = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.ports.tls}",
            http2=True,
            http1=False,
            verify=trust,
            timeout=_PATIENCE,
            limits=limits,
            trust_env=False,
        )


@contextmanager
def running(name: str, server_port: int, folder: Path) -> Generator[Proxy]:
    """The named proxy in front of `server_port` while the block runs. `folder` is for its files."""
    ports = Ports(free_port(), free_port(), server_port)
    cert = certificate(folder.parent)
    command = {"nginx": _nginx, "caddy": _caddy, "haproxy": _haproxy}[name](ports, cert, folder)
    assert shutil.which(command[0]), f"{name} is not installed: scripts/test-proxies installs it"
    log = folder / "log"
    with log.open("wb") as output:
        home = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=home
        )
    try:
        for port in (ports.plain, ports.tls):
            eventually(partial(_listens, port, process, log), _PATIENCE)
        yield Proxy(name, ports, cert.certificate, log)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_PATIENCE)


def _listens(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, f"the proxy did not start:\n{log.read_text(errors='replace')}"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _nginx(ports: Ports, cert: Certificate, folder: Path) -> list[str]:
    """The snippet, within the little that a distribution's nginx.conf has around it."""
    site = snippet(
        "nginx.conf",
        ("127.0.0.1:8000", f"127.0.0.1:{ports.server}"),
        ("listen 80;", f"listen 127.0.0.1:{ports.plain};"),
        ("listen 443 ", f"listen 127.0.0.1:{ports.tls} "),
        ("/etc/ssl/certs/events.example.com.pem", str(cert.certificate)),
        ("/etc/ssl/private/events.example.com.key", str(cert.key)),
        ("_timeout 60s;", f"_timeout {TIMEOUT}s;"),
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    around = (
        f"daemon off; pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\ninclude {folder}/penstock.conf;\n}}\n"
    )
    (folder / "penstock.conf").write_text(site, encoding="utf-8")
    (folder / "nginx.conf").write_text(around, encoding="utf-8")
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]


def _caddy(ports: Ports, cert: Certificate, folder: Path) -> list[str]:
    """The snippet as two sites, without certificates from the network and without an admin port."""
    plain = _caddy_site(ports, f"http://127.0.0.1:{ports.plain} {{")
    tls = _caddy_site(
        ports, f"https://127.0.0.1:{ports.tls} {{\n\ttls {cert.certificate} {cert.key}"
    )
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    (folder / "Caddyfile").write_text(options + plain + tls, encoding="utf-8")
    file = str(folder / "Caddyfile")
    return ["caddy", "run", "--config", file, "--adapter", "caddyfile"]


def _caddy_site(ports: Ports, head: str) -> str:
    return snippet(
        "Caddyfile",
        ("127.0.0.1:8000", f"127.0.0.1:{ports.server}"),
        ("read_timeout 60s", f"read_timeout {TIMEOUT}s"),
        (NAME + " {", head),
    )


def _haproxy(ports: Ports, cert: Certificate, folder: Path) -> list[str]:
    text = snippet(
        "haproxy.cfg",
        ("127.0.0.1:8000", f"127.0.0.1:{ports.server}"),
        ("bind :80\n", f"bind 127.0.0.1:{ports.plain}\n"),
        ("bind :443 ", f"bind 127.0.0.1:{ports.tls} "),
        ("/etc/haproxy/certs/events.example.com.pem", str(cert.both)),
        (" 60s\n", f" {TIMEOUT}s\n"),
        ("maxconn 20000", "maxconn 1000"),  # of which each takes two descriptors
    )
    (folder / "haproxy.cfg").write_text(text, encoding="utf-8")
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
