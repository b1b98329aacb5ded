"""``cors=`` takes origins as people write them, and refuses what is none."""

from typing import Any

import pytest

import penstock as ps
from penstock_server import Server
from penstock_server.origins import parse_origins


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com/", "https://app.example.com"),
        ("HTTPS://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://localhost:80/", "http://localhost"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(given: str, origin: str) -> None:
    assert parse_origins(given) == parse_origins([given]) == {origin}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("app.example.com", "has no scheme and host"),
        ("https://", "has no scheme and host"),
        ("https://app.example.com/page", "has more than scheme, host and port"),
        ("https://app.example.com?x", "has more than scheme, host and port"),
        ("https://me@app.example.com", "has more than scheme, host and port"),
        ("https://app.example.com:port", "is no origin"),
        ("https://[::1", "is no origin"),
        (7, "is no text"),
    ],
)
def test_what_is_no_origin_is_refused_with_its_line(given: Any, problem: str) -> None:
    with pytest.raises(ps.PipelineError) as refused:
        Server(cors=[given])
    assert f"cors: {given!r} {problem}" in str(refused.value)
    assert refused.value.where is not None
    assert refused.value.where.file == __file__
