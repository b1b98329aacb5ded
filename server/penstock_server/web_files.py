"""The files for browsers, as they are served: the console at ``/``, and ``client.js``.

They are in the package's folder ``web``, are read once, and are the same for everybody: what the
console shows, it asks the server for, with the token of who looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from gzip import compress
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from quart import Response, request
from quart_trio import QuartTrio

from .transports.negotiation import choose_coding

_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".ts": "application/typescript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_CONSOLE = "console"
_CONSOLE_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, nothing in line, nothing made of text: data can't become a script."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file.

    Attributes:
        content_type: what it is.
        body, packed: its bytes as they are, and in gzip.
        etag: names its content (RFC 9110 section 8.8.3), without quotes.
        policy: its Content-Security-Policy; None for a file that pages of others use, which have
            policies of their own.
    """

    content_type: str
    body: bytes
    packed: bytes
    etag: str
    policy: str | None

    @classmethod
    def of(cls, name: str, body: bytes) -> WebFile:
        """A file of that name in the folder."""
        return cls(
            _CONTENT_TYPES[f".{name.rpartition('.')[2]}"],
            body,
            compress(body, mtime=0),
            sha256(body).hexdigest()[:20],
            _CONSOLE_POLICY if name.startswith(f"{_CONSOLE}/") else None,
        )


def web_files() -> dict[str, WebFile]:
    """Every file of the folder by its path in it, such as ``console/index.html``."""
    folder = files(__name__.partition(".")[0]) / "web"
    return {name: WebFile.of(name, entry.read_bytes()) for name, entry in _entries(folder)}


def _entries(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _entries(entry, f"{name}/")
        elif f".{name.rpartition('.')[2]}" in _CONTENT_TYPES:
            yield name, entry


def add_web_files(quart: QuartTrio) -> None:
    """Add ``/``, ``/console/…``, ``/client.js`` and ``/client.d.ts``.

    The console's page names its files relative to ``/``, so that it works under a path of a proxy
    as well.
    """
    known = web_files()

    def route(rule: str, endpoint: str, name: str) -> None:
        async def serve(rest: str = "") -> Response:
            return _answer(known.get(name + rest))

        quart.add_url_rule(rule, endpoint, serve)

    route("/", "penstock_index", f"{_CONSOLE}/index.html")
    route(f"/{_CONSOLE}/<path:rest>", "penstock_console", f"{_CONSOLE}/")
    route("/client.js", "penstock_client", "client.js")
    route("/client.d.ts", "penstock_client_types", "client.d.ts")


def _answer(file: WebFile | None) -> Response:
    if file is None:
        return Response("There is no such file.", 404, content_type="text/plain; charset=utf-8")
    coding = choose_coding(request.headers.get("Accept-Encoding"))
    coding = coding if coding == "gzip" else None
    etag = file.etag if coding is None else f"{file.etag}-{coding}"
    unchanged = request.if_none_match.contains_weak(etag)
    body = b"" if unchanged else file.body if coding is None else file.packed
    response = Response(body, 304 if unchanged else 200, content_type=file.content_type)
    response.set_etag(etag)
    _describe(response, file, None if unchanged else coding)
    return response


def _describe(response: Response, file: WebFile, coding: str | None) -> None:
    headers = response.headers
    headers["Cache-Control"] = "no-cache"  # kept, and asked for each time: names have no versions
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers.add("Vary", "Accept-Encoding")
    if coding is not None:
        headers["Content-Encoding"] = coding
    if file.policy is not None:
        headers["Content-Security-Policy"] = file.policy
