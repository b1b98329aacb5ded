"""Which targets are paths, and which requests over HTTP/2 no application sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.hypercorn_guard._targets import objection_to, path_of


@pytest.mark.parametrize(
    ("method", "target", "found"),
    [
        (b"GET", b"/", (b"/", None)),
        (b"GET", b"/a?b", (b"/a?b", None)),
        (b"GET", b"//a/../b", (b"//a/../b", None)),
        (b"OPTIONS", b"*", (b"*", None)),
        (b"GET", b"http://a.example:80/b?c", (b"/b?c", b"a.example:80")),
        (b"GET", b"HTTPS://a.example", (b"/", b"a.example")),
        (b"GET", b"http://a.example?b", (b"/?b", b"a.example")),
        (b"GET", b"http:///a", None),
        (b"GET", b"http://user@a.example/", None),
        (b"GET", b"*", None),
        (b"GET", b"stats", None),
        (b"GET", b"", None),
        (b"GET", b"ftp://a/b", None),
        (b"GET", b"/\xff", None),
        (b"CONNECT", b"a.example:443", None),
        (b"CONNECT", b"/", None),
    ],
)
def test_a_target_is_a_path_or_refused(
    method: bytes, target: bytes, found: tuple[bytes, bytes | None] | None
) -> None:
    assert path_of(method, target) == found


@given(st.binary(), st.binary(max_size=60))
def test_whatever_comes_is_a_path_or_refused(method: bytes, target: bytes) -> None:
    found = path_of(method, target)
    assert found is None or found[0].startswith(b"/") or found == (b"*", None)


def request(**pseudo: str) -> list[tuple[bytes, bytes]]:
    return [(b":" + name.encode(), value.encode("latin-1")) for name, value in pseudo.items()]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (request(method="GET", path="/"), None),
        (request(method="OPTIONS", path="*"), None),
        (request(method="CONNECT", protocol="websocket", path="/ws"), None),
        (request(method="CONNECT", protocol="WebSocket", path="/ws"), None),
        (request(method="CONNECT", protocol="connect-udp", path="/"), 501),
        (request(method="CONNECT", authority="a:1"), 501),
        (request(method="CONNECT", protocol="websocket"), 400),
        (request(method="CONNECT", protocol="websocket", path="*"), 400),
        (request(method="GET", path=""), 400),
        (request(method="GET", path="stats"), 400),
        (request(method="GET", path="http://a/"), 400),
        (request(method="GET", path="/\xff"), 400),
        (request(method="G\xc9T", path="/"), 400),
        ([*request(method="GET", path="/"), (b"x", b"y" * 1000)], 431),
        ([*request(method="GET", path="/"), *[(b"x", b"")] * 31], 431),
    ],
)
def test_what_makes_no_sense_is_refused_unseen(
    headers: list[tuple[bytes, bytes]], status: int | None
) -> None:
    assert objection_to(headers, 1000) == status
