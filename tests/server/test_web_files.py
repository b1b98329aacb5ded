"""The console and ``client.js`` as they are served: whole, checked by browsers, never stale."""

import gzip
import re
from collections.abc import AsyncIterator

import pytest

from penstock_server import Server
from penstock_server.web_files import web_files

from .asgi_driver import Driver, serving

FILES = web_files()
CONSOLE = sorted(name for name in FILES if name.startswith("console/"))


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with serving(Server("A & B")) as driver:
        yield driver


def test_all_that_the_console_needs_is_there() -> None:
    assert {"console/index.html", "console/main.js", "console/style.css"} <= set(CONSOLE)
    assert {"client.js", "client.d.ts"} <= set(FILES)
    page = FILES["console/index.html"].body.decode()
    named = re.findall(r'(?:src|href)="(console/[^"]+)"', page)
    assert len(named) >= 4
    assert set(named) <= set(CONSOLE)
    for name in CONSOLE:
        text = FILES[name].body.decode()
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert f"console/{module}" in FILES, f"{name} imports {module}"


def test_data_can_not_become_markup() -> None:
    """Every sink that takes markup or code; Trusted Types would stop them in the browser, too."""
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    for name in CONSOLE:
        assert not re.search(sinks, FILES[name].body.decode()), name
    page = FILES["console/index.html"].body.decode()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


@pytest.mark.parametrize("path", ["/", *(f"/{name}" for name in CONSOLE)])
async def test_the_console(driver: Driver, path: str) -> None:
    response, body = await driver.fetch("GET", path)
    file = FILES["console/index.html" if path == "/" else path[1:]]
    assert (response.status, body) == (200, file.body)
    assert response.headers["content-type"] == file.content_type
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"
    policy = response.headers["content-security-policy"]
    assert "default-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/console/main.js", "text/javascript; charset=utf-8"),
        ("/console/style.css", "text/css; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
        ("/client.js", "text/javascript; charset=utf-8"),
        ("/client.d.ts", "application/typescript; charset=utf-8"),
    ],
)
async def test_content_types(driver: Driver, path: str, kind: str) -> None:
    response, _ = await driver.fetch("GET", path)
    assert (response.status, response.headers["content-type"]) == (200, kind)


async def test_pages_of_friends_may_import_the_client() -> None:
    friend = "https://friend.example"
    async with serving(Server(cors=[friend])) as driver:
        response, _ = await driver.fetch("GET", "/client.js", {"origin": friend})
    assert response.headers["access-control-allow-origin"] == "https://friend.example"
    assert "content-security-policy" not in response.headers  # their pages have their own


async def test_what_a_browser_has_already_is_not_sent_again(driver: Driver) -> None:
    first, body = await driver.fetch("GET", "/client.js")
    etag = first.headers["etag"]
    again, nothing = await driver.fetch("GET", "/client.js", {"if-none-match": f'"old", {etag}'})
    assert (again.status, nothing) == (304, b"")
    assert again.headers["etag"] == etag
    other, whole = await driver.fetch("GET", "/client.js", {"if-none-match": '"old"'})
    assert (other.status, whole) == (200, body)


async def test_compressed(driver: Driver) -> None:
    headers = {"accept-encoding": "gzip, br, zstd"}
    packed, body = await driver.fetch("GET", "/console/main.js", headers)
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(body) == FILES["console/main.js"].body
    plain, _ = await driver.fetch("GET", "/console/main.js", {"accept-encoding": "br"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] != packed.headers["etag"]
    tag = {"if-none-match": packed.headers["etag"]}
    again, nothing = await driver.fetch("GET", "/console/main.js", headers | tag)
    assert (again.status, nothing) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/console/absent.js",
        "/console/../web_files.py",
        "/console/..%2fweb_files.py",
        "/console//etc/passwd",
        "/console/client.js",
        "/console/",
        "/web/client.js",
    ],
)
async def test_nothing_else_is_served(driver: Driver, path: str) -> None:
    response, body = await driver.fetch("GET", path)
    assert response.status in (308, 404)  # 308 leads to the same without its second slash
    assert len(body) < 400
