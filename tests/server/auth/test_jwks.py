"""Key sets at an address: fetched once, kept, and fetched again no more often than allowed."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock import PenstockError
from penstock_server.auth import JWT, CannotVerify
from penstock_server.auth.jwks import FetchedKeys, check_address, http_fetch
from penstock_server.auth.keys import keys_of_document

from .issuing import jwk


class Issuer:
    """An address; `keys` is what it has, None for an error, and `slow` makes it take its time."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys: list[dict[str, Any]] | None = list(keys)
        self.fetched = 0
        self.slow = 0.0

    async def fetch(self) -> bytes:
        self.fetched += 1
        await trio.sleep(self.slow)
        if self.keys is None:
            raise OSError("it answered 500")
        return json.dumps({"keys": self.keys}).encode()

    def key_set(self) -> FetchedKeys:
        return FetchedKeys(self.fetch, lambda found: keys_of_document(found, None, secrets=False))


A, B = jwk("p256", kid="a"), jwk("p256", kid="b")


async def has(keys: FetchedKeys, kid: str | None) -> bool:
    return await keys.find(kid, "ES256") is not None


async def test_it_is_fetched_once_an_hour(autojump_clock: MockClock) -> None:
    issuer = Issuer(A)
    keys = issuer.key_set()
    for _ in range(3):
        assert await has(keys, "a")
        assert await has(keys, None)
    assert issuer.fetched == 1
    await trio.sleep(3600)
    assert await has(keys, "a")
    assert issuer.fetched == 2


async def test_a_new_key_is_found_at_most_a_minute_later(autojump_clock: MockClock) -> None:
    issuer = Issuer(A)
    keys = issuer.key_set()
    assert await has(keys, "a")
    issuer.keys = [A, B]
    for _ in range(100):
        assert not await has(keys, "b")
    assert issuer.fetched == 1
    await trio.sleep(60)
    assert await has(keys, "b")
    assert issuer.fetched == 2


async def test_many_clients_wait_for_one_fetch_and_known_keys_for_none(
    autojump_clock: MockClock,
) -> None:
    issuer = Issuer(A)
    keys = issuer.key_set()
    issuer.slow = 3
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(has, keys, "a")
    assert issuer.fetched == 1
    await trio.sleep(60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(has, keys, "unknown")
        await trio.sleep(1)
        before = trio.current_time()
        assert await has(keys, "a")
        assert trio.current_time() == before


async def test_without_any_keys_nothing_can_be_said(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(A)
    issuer.keys = None
    keys = issuer.key_set()
    for _ in range(50):
        with pytest.raises(CannotVerify):
            await has(keys, "a")
    assert issuer.fetched == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    issuer.keys = [A]
    await trio.sleep(5)
    assert await has(keys, "a")


def _break(issuer: Issuer) -> None:
    issuer.keys = None


def _hang(issuer: Issuer) -> None:
    issuer.slow = 1000


def _empty(issuer: Issuer) -> None:
    issuer.keys = []


def _leak(issuer: Issuer) -> None:
    issuer.keys = [{"kty": "oct", "k": "x" * 50, "kid": "a"}]


@pytest.mark.parametrize("fault", [_break, _hang, _empty, _leak])
async def test_a_failed_fetch_leaves_the_keys_as_they_are(
    autojump_clock: MockClock, fault: Callable[[Issuer], None]
) -> None:
    issuer = Issuer(A)
    keys = issuer.key_set()
    assert await has(keys, "a")
    fault(issuer)
    await trio.sleep(3600)
    started = trio.current_time()
    assert await has(keys, "a")
    assert trio.current_time() <= started + 5
    assert await keys.find("a", "HS256") is None
    assert issuer.fetched == 2


async def test_who_leaves_during_the_fetch_takes_nothing_from_the_others(
    autojump_clock: MockClock,
) -> None:
    issuer = Issuer(A)
    issuer.slow = 3
    keys = issuer.key_set()
    with trio.move_on_after(1):
        await has(keys, "a")
    assert await has(keys, "a")
    assert issuer.fetched == 2


@pytest.mark.parametrize(
    "url", ["https://a.example/keys", "http://127.0.0.1:1/", "http://[::1]/k", "http://localhost/"]
)
def test_addresses_that_can_be_trusted(url: str) -> None:
    assert check_address(url) == url


def test_an_address_is_told_without_its_secrets() -> None:
    with pytest.raises(PenstockError, match=r"got http://keys\.example:81/all$"):
        check_address("http://user:secret@keys.example:81/all?token=secret")


async def test_an_address_that_nobody_answers_at() -> None:
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:1/keys: ConnectError"):
        await http_fetch("http://127.0.0.1:1/keys?token=secret")()


@pytest.mark.parametrize(("package", "named"), [("httpx", "httpx"), ("jwt", "PyJWT")])
def test_what_has_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, package: str, named: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "penstock_server.auth.keys")
    with pytest.raises(PenstockError, match=rf"needs {named}: pip install '\.\[auth\]' in penst"):
        JWT(jwks="https://keys.example/")
