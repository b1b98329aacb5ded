"""API keys: who gets in, and what a configuration may say."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from penstock import PenstockError
from penstock_server.auth import ApiKeys, Unauthorized
from penstock_server.grants import Grant

KEY = "k-0123456789-abcdef"
OTHER = "o-0123456789-abcdef"
HASHED = "sha256:" + sha256(OTHER.encode()).hexdigest()


async def test_each_key_has_its_rights() -> None:
    auth = ApiKeys({KEY: {"subscribe": ["*"]}, HASHED: Grant("ann", publish=("a",), token_id="x")})
    grant = await auth.verify(KEY)
    assert grant.subscribe == ("*",)
    assert grant.token_id == sha256(KEY.encode()).hexdigest()[:12]
    assert await auth.verify(OTHER) == Grant("ann", publish=("a",), token_id="x")


@pytest.mark.parametrize("token", ["", "x", KEY + "x", KEY[:-1], HASHED, HASHED[7:], "\ud800"])
async def test_who_has_no_key_stays_out(token: str) -> None:
    with pytest.raises(Unauthorized, match="not known"):
        await ApiKeys({KEY: {}, HASHED: {}}).verify(token)


async def test_keys_expire_and_are_revoked() -> None:
    now = 5.0
    auth = ApiKeys({KEY: {"expires": 10}, OTHER: {"subject": "bob"}}, clock=lambda: now)
    await auth.verify(KEY)
    now = 10.0
    with pytest.raises(Unauthorized, match="expired"):
        await auth.verify(KEY)
    auth.revoke(subject="bob")
    with pytest.raises(Unauthorized, match="revoked"):
        await auth.verify(OTHER)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"short-secret": {}}, "entry 1: a key is at least 16"),
        ({KEY: {}, "sha256:0": {}}, "entry 2: after 'sha256:'"),
        ({KEY + " x": {}}, "visible"),
        ({1: {}}, "entry 1: a key is text"),
        ({KEY: {"subscribe": "*"}}, "entry 1.subscribe must be a list"),
        ({KEY: {"admin": True}}, "no field 'admin'"),
        ({OTHER: {}, HASHED: {}}, "entry 2 is the same key"),
        ([KEY], "wants a map"),
        ({f"{KEY}{n}": {} for n in range(1_001)}, "at most 1000"),
    ],
)
def test_what_can_not_be_used(keys: Any, problem: str) -> None:
    with pytest.raises(PenstockError, match=problem) as caught:
        ApiKeys(keys)
    assert KEY not in str(caught.value)
    assert "short-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"anonymous": {}}, {"recheck": 0}, {"recheck": True}, {"check": 1}]
)
def test_policies_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(PenstockError, match=f"auth: {next(iter(options))}"):
        ApiKeys({}, **options)


async def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_KEYS", json.dumps({KEY: {"operate": True}}))
    auth = ApiKeys.from_env("PENSTOCK_KEYS", query_token=True)
    assert (await auth.verify(KEY)).operate
    assert auth.policy.query_token


@pytest.mark.parametrize(
    ("value", "problem"),
    [("", "KEYS is not set"), ("{'secret'", "KEYS is not JSON"), ("[]", "must be a map")],
)
def test_an_environment_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    monkeypatch.setenv("KEYS", value)
    with pytest.raises(PenstockError, match=problem) as caught:
        ApiKeys.from_env("KEYS")
    assert "secret" not in str(caught.value)


async def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({HASHED: {"subject": "ann"}}))
    assert (await ApiKeys.from_file(path).verify(OTHER)).subject == "ann"
    with pytest.raises(PenstockError, match=r"can't read .*none.json: No such file"):
        ApiKeys.from_file(tmp_path / "none.json")


def test_keys_are_not_kept() -> None:
    auth = ApiKeys({KEY: {}})
    assert KEY not in repr(auth)
    assert KEY not in repr(vars(auth))


def test_security_schemes() -> None:
    schemes = ApiKeys({}, query_token=True).security_schemes()
    assert schemes == {
        "bearer": {"type": "http", "scheme": "bearer"},
        "cookie": {"type": "httpApiKey", "name": "penstock_token", "in": "cookie"},
        "query": {"type": "httpApiKey", "name": "token", "in": "query"},
    }
