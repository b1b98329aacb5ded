"""Which pages may connect (RFC 6454)."""

import pytest

from penstock_server.transports.origin import origin_allowed

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
