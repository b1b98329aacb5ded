"""Which pages may connect (RFC 6454)."""

import pytest

from penstock_server.transports.origin import (
    cors_headers,
    credentials_allowed,
    cross_site_without_origin,
    origin_allowed,
)

LISTED = frozenset({"https://friend.example"})


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (None, "here.example", "http"),
        (None, None, "https"),
        ("http://here.example", "here.example", "http"),
        ("http://here.example:80", "here.example", "http"),
        ("http://here.example", "here.example:80", "http"),
        ("http://here.example:8000", "here.example:8000", "http"),
        ("https://here.example", "here.example", "https"),
        ("https://here.example:443", "here.example", "https"),
        ("https://here.example", "here.example", "http"),  # a proxy ends TLS
        ("HTTP://HERE.example", "here.EXAMPLE", "http"),
        ("http://[::1]:8000", "[::1]:8000", "http"),
        ("https://friend.example", "here.example", "http"),
    ],
)
def test_allowed(origin: str | None, host: str | None, scheme: str) -> None:
    assert origin_allowed(origin, host, scheme, LISTED)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("null", "here.example", "http"),
        ("", "here.example", "http"),
        ("http://there.example", "here.example", "http"),
        ("http://here.example:8001", "here.example:8000", "http"),
        ("http://here.example", "here.example", "https"),  # a downgraded page
        ("http://here.example.evil.example", "here.example", "http"),
        ("http://here.example@evil.example", "here.example", "http"),
        ("ftp://here.example", "here.example", "http"),
        ("file://", "", "http"),
        ("http://here.example", None, "http"),
        ("http://here.example:x", "here.example", "http"),
        ("http://here.example", "here.example:x", "http"),
        ("http://[::1", "[::1", "http"),
        ("http://friend.example", "here.example", "http"),
        ("https://friend.example:8443", "here.example", "http"),
        ("*", "here.example", "http"),
    ],
)
def test_refused(origin: str, host: str | None, scheme: str) -> None:
    assert not origin_allowed(origin, host, scheme, LISTED)


@pytest.mark.parametrize("origin", ["null", "http://there.example", "nonsense"])
def test_a_star_is_for_every_page(origin: str) -> None:
    assert origin_allowed(origin, "here.example", "http", {"*"})


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://here.example", True),
        ("https://friend.example", True),
        ("https://there.example", False),
        ("null", False),
    ],
)
def test_with_a_cookie_only_origins_that_are_named(origin: str | None, allowed: bool) -> None:
    for listed in (LISTED, LISTED | {"*"}, LISTED | {"*", "null"}):
        assert credentials_allowed(origin, "here.example", "http", listed) == allowed


@pytest.mark.parametrize(
    ("site", "mode", "foreign"),
    [
        (None, None, False),
        ("none", "navigate", False),
        ("same-origin", "no-cors", False),
        ("same-site", "no-cors", True),
        ("same-site", "navigate", False),
        ("cross-site", "navigate", False),
        ("cross-site", "no-cors", True),
        ("cross-site", None, True),
    ],
)
def test_what_fetch_metadata_tells(site: str | None, mode: str | None, foreign: bool) -> None:
    assert cross_site_without_origin(site, mode) == foreign


def told(origin: str | None, *allowed: str, preflight: bool = False) -> dict[str, str]:
    headers = cors_headers(origin, allowed, preflight=preflight)
    short = "access-control-"
    return {name.decode().removeprefix(short): value.decode() for name, value in headers}


def test_cors_headers() -> None:
    friend, other = "https://friend.example", "https://other.example"
    exposed = {"expose-headers": "Location, Idempotent-Replayed, Retry-After"}
    named = {"allow-origin": friend, "allow-credentials": "true", "vary": "Origin"}
    assert told(friend, friend) == named | exposed
    assert told(friend, friend, "*") == named | exposed
    assert told(other, friend, "*") == {"allow-origin": "*", "vary": "Origin"} | exposed
    assert told(other, "*") == {"allow-origin": "*"} | exposed
    assert told("null", "null", "*") == {"allow-origin": "*"} | exposed
    assert told(other, friend) == {"vary": "Origin"}
    assert told(None, friend, "*") == {"vary": "Origin"}
    assert told(friend) == {}


def test_preflights_tell_what_may_be_asked_for() -> None:
    answer = told("https://friend.example", *LISTED, preflight=True)
    assert {"GET", "POST", "DELETE"} <= set(answer["allow-methods"].split(", "))
    assert {
        "Authorization",
        "Content-Type",
        "Event-Name",
        "Idempotency-Key",
        "Last-Event-ID",
    } <= set(answer["allow-headers"].split(", "))
    assert told("https://there.example", *LISTED, preflight=True) == {"vary": "Origin"}
