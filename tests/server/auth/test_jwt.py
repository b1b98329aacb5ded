"""JWTs: whose signature counts, which claims, and what hostile tokens come to."""

from __future__ import annotations

import base64
import logging
import time
from math import inf
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock_server.auth import JWT, Unauthorized
from penstock_server.auth.keys import VerifyingKey
from penstock_server.auth.signed import Expected, key_wanted, read_claims
from penstock_server.grants import Grant

from .issuing import RIGHTS, SECRET, forge, issue, jwk, private_key, private_pem, public_pem


async def refusal(auth: JWT, token: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        await auth.verify(token)
    return caught.value.reason


# What a good token gives


async def test_the_claims_are_the_grant() -> None:
    now = int(time.time())
    token = issue(jti="7", iat=now, exp=now + 60, penstock={**RIGHTS, "operate": True})
    assert await JWT(SECRET, leeway=5).verify(token) == Grant(
        "ann", ("room.*",), ("room.1",), ("j",), True, now + 65, "7", now
    )


async def test_a_token_may_say_next_to_nothing() -> None:
    nothing = issue(sub=None, exp=None, penstock=None)
    assert await JWT(SECRET).verify(nothing) == Grant()
    assert (await JWT(SECRET).verify(issue(exp=10**300))).expires < inf


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("rsa", "RS256"),
        ("rsa", "RS512"),
        ("rsa", "PS256"),
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("ed", "EdDSA"),
    ],
)
async def test_public_keys(kind: str, algorithm: str) -> None:
    token = issue(private_key(kind), algorithm)
    assert (await JWT(public_pem(kind)).verify(token)).subject == "ann"
    assert (await JWT(public_pem(kind).decode()).verify(token)).subject == "ann"
    assert (await JWT(jwks={"keys": [jwk(kind)]}).verify(token)).subject == "ann"


async def test_audience_and_issuer() -> None:
    auth = JWT(SECRET, audience=["a", "b"], issuer="https://us.example")
    assert (await auth.verify(issue(aud="b", iss="https://us.example"))).subject == "ann"
    assert (await auth.verify(issue(aud=["x", "a"], iss="https://us.example"))).subject == "ann"
    several = JWT(SECRET, audience="a", issuer=["i", "j"])
    assert (await several.verify(issue(aud="a", iss="j"))).subject == "ann"


# Whose signature counts


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
async def test_another_key_does_not(algorithm: str) -> None:
    theirs: dict[str, Any] = {"HS256": "x" * 32, "RS256": private_key("rsa2"), "ES256": "p256"}
    key = private_key("p256") if algorithm == "ES256" else theirs[algorithm]
    token = issue(key, algorithm)
    assert await refusal(JWT(SECRET), token) != ""
    assert await refusal(JWT(public_pem("rsa")), token) != ""


async def test_no_algorithm_is_no_signature() -> None:
    for name in ("none", "None", "NONE", "", None, 1, ["HS256"]):
        token = forge({"alg": name, "typ": "JWT"}, {"sub": "ann", "penstock": RIGHTS}, b"")
        assert await refusal(JWT(SECRET), token)
    unsigned = jwt.encode({"sub": "ann"}, "", "none")
    assert "no key" in await refusal(JWT(SECRET), unsigned)


async def test_a_public_key_is_no_secret() -> None:
    """The classic confusion: the token is signed with HMAC, and the secret is the public key."""
    pem = public_pem("rsa")
    header, claims, _ = issue().split(".")
    signed = jwt.get_algorithm_by_name("HS256").sign(f"{header}.{claims}".encode(), pem)
    token = f"{header}.{claims}.{base64.urlsafe_b64encode(signed).decode().rstrip('=')}"
    assert "no key" in await refusal(JWT(pem), token)
    assert "no key" in await refusal(JWT(jwks={"keys": [jwk("rsa")]}), token)


async def test_only_algorithms_that_are_allowed() -> None:
    auth = JWT(public_pem("rsa"), algorithms=("RS512",))
    assert "no key" in await refusal(auth, issue(private_key("rsa"), "RS256"))
    assert (await auth.verify(issue(private_key("rsa"), "RS512"))).subject == "ann"
    assert "no key" in await refusal(JWT(SECRET), issue("x" * 64, "HS512"))


async def test_a_set_finds_the_key_by_its_name() -> None:
    keys = [jwk("rsa", kid="a"), jwk("rsa2", kid="b"), jwk("p256")]
    auth = JWT(jwks={"keys": keys})
    assert (await auth.verify(issue(private_key("rsa"), "RS256", {"kid": "a"}))).subject == "ann"
    assert (await auth.verify(issue(private_key("rsa2"), "RS256", {"kid": "b"}))).subject == "ann"
    assert (await auth.verify(issue(private_key("p256"), "ES256", {"kid": "any"}))).subject == "ann"
    assert "no key" in await refusal(auth, issue(private_key("rsa"), "RS256", {"kid": "c"}))
    assert "no key" in await refusal(auth, issue(private_key("rsa"), "RS256"))
    assert "signature" in await refusal(auth, issue(private_key("rsa"), "RS256", {"kid": "b"}))


# Which claims


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "has expired"),
        ({"exp": "soon"}, "can't be read"),
        ({"nbf": 1 << 40}, "not valid yet"),
        ({"iat": 1 << 40}, "not valid yet"),
        ({"aud": "them"}, "another audience"),
        ({"aud": None}, "lacks the claim aud"),
        ({"iss": "them"}, "another issuer"),
        ({"iss": None}, "lacks the claim iss"),
        ({"exp": None}, "lacks the claim exp"),
        ({"jti": 5}, "can't be read"),
        ({"sub": 5}, "can't be read"),
        ({"penstock": "all"}, "The claim penstock must be a map"),
        ({"penstock": {"subscribe": "*"}}, "The claim penstock.subscribe must be a list"),
        ({"penstock": {"operate": 1}}, "The claim penstock.operate must be true or false"),
    ],
)
async def test_claims_that_are_wrong(claims: dict[str, Any], reason: str) -> None:
    auth = JWT(SECRET, audience="us", issuer="us", require_exp=True)
    assert reason in await refusal(auth, issue(**{"aud": "us", "iss": "us", **claims}))


async def test_clocks_may_differ_by_the_leeway() -> None:
    token = issue(exp=int(time.time()) - 5)
    assert "expired" in await refusal(JWT(SECRET), token)
    assert (await JWT(SECRET, leeway=60).verify(token)).expires > time.time()


async def test_a_token_for_a_certain_audience_is_not_for_everybody() -> None:
    assert "another audience" in await refusal(JWT(SECRET), issue(aud="them"))


async def test_revocation() -> None:
    auth = JWT(SECRET)
    now = int(time.time())
    one, two = issue(jti="1", iat=now), issue(jti="2", iat=now)
    auth.revoke(token_id="1")
    assert "revoked" in await refusal(auth, one)
    assert (await auth.verify(two)).subject == "ann"
    auth.revoke(subject="ann")
    assert "revoked" in await refusal(auth, two)


# Hostile tokens

HEADER = {"alg": "HS256", "typ": "JWT"}
DEEP = '{"a":' * 1_500 + "1" + "}" * 1_500


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "....",
        "a.b.c",
        "Bearer x",
        "é.é.é",
        "\ud800.a.b",
        "=.=.=",
        "%2e.%2e.%2e",
        "e30.e30.",
        "bnVsbA.bnVsbA.x",
        "WzFd.WzFd.x",
        "x" * 20_000,
        "." * 10_000,
        forge(HEADER, {}),
        forge({**HEADER, "kid": ["x"]}, {}),
        forge({**HEADER, "kid": "../../etc/passwd"}, {}),
        forge({**HEADER, "crit": ["exp"]}, {}),
        forge({**HEADER, "b64": False, "crit": ["b64"]}, {}),
        forge({**HEADER, "jku": "http://127.0.0.1/keys", "jwk": jwk("rsa")}, {}),
        forge({"alg": "RS256", "x5u": "http://127.0.0.1/cert"}, {}),
        base64.urlsafe_b64encode(DEEP.encode()).decode()[:10_000] + ".e30.e30",
    ],
)
async def test_junk_is_refused_without_a_word_in_the_log(
    token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for auth in (JWT(SECRET), JWT(public_pem("rsa")), JWT(jwks={"keys": [jwk("p256")]})):
        reason = await refusal(auth, token)
        assert len(reason) < 100
    assert caplog.records == []


@pytest.mark.parametrize("claims", [DEEP, "[]", "null", "1", '"x"', "{", "", '{"exp":1e999}'])
async def test_signed_nonsense_is_refused_too(claims: str) -> None:
    token = jwt.PyJWS().encode(claims.encode(), SECRET, "HS256")
    assert await refusal(JWT(SECRET), token)


_EXPECTED = Expected(("us",), ("us",), 0, ("exp",))
_KEY = VerifyingKey(SECRET.encode(), ("HS256",))
_segments = st.text("eyJhbGciOiJIUzI1NiJ9_-=.", max_size=40) | st.binary(max_size=30).map(
    lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_claim = st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "jti", "penstock"])


@given(st.lists(_segments, min_size=1, max_size=4).map(".".join) | st.text(max_size=30))
@example("e30.e30.e30")
def test_any_text_is_refused_and_nothing_else(token: str) -> None:
    with pytest.raises(Unauthorized):
        key_wanted(token)
        read_claims(token, _KEY, _EXPECTED)


@given(
    st.dictionaries(_claim, _json), st.dictionaries(st.sampled_from(["kid", "crit", "cty"]), _json)
)
def test_any_signed_claims_are_read_or_refused(
    claims: dict[str, Any], headers: dict[str, Any]
) -> None:
    token = forge({"alg": "HS256", **headers}, claims).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("HS256").sign(token.encode(), SECRET.encode())
    whole = f"{token}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    try:
        key_wanted(whole)
        read = read_claims(whole, _KEY, _EXPECTED)
    except Unauthorized:
        return
    assert read["iss"] == "us"


# Options


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "either key= or jwks="),
        ({"key": SECRET, "jwks": {}}, "either key= or jwks="),
        ({"key": "short"}, "secret of 5 bytes"),
        ({"key": 5}, "must be text or bytes"),
        ({"key": '{"kty":"oct"}'}, "give a JSON Web Key as jwks="),
        ({"key": "ssh-rsa AAAA" + "x" * 40}, "public key in PEM"),
        ({"key": "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"}, "no public key"),
        ({"key": private_pem("ed")}, "is a private key"),
        ({"key": public_pem("weak")}, "RSA key of 1024 bits"),
        ({"key": public_pem("k1")}, "of a kind"),
        ({"key": SECRET, "algorithms": ("none",)}, "'none' is none of"),
        ({"key": SECRET, "algorithms": ()}, "algorithms is empty"),
        ({"key": SECRET, "algorithms": "RS256"}, "good for HS256, of which"),
        ({"key": public_pem("rsa"), "algorithms": ("HS256",)}, "good for RS256"),
        ({"key": SECRET, "algorithms": ("HS512",)}, "good for HS256, of which"),
        ({"key": SECRET, "leeway": -1}, "leeway must be"),
        ({"key": SECRET, "leeway": True}, "leeway must be"),
        ({"key": SECRET, "recheck": "often"}, "recheck must be"),
        ({"jwks": {"keys": []}}, "holds no key"),
        ({"jwks": {"keys": {}}}, "wants"),
        ({"jwks": {"keys": [1, {}, {"kty": "RSA"}, jwk("weak"), jwk("k1")]}}, "holds no key"),
        ({"jwks": jwk("rsa", use="enc")}, "holds no key"),
        ({"jwks": jwk("rsa", key_ops=["sign"])}, "holds no key"),
        ({"jwks": jwk("rsa", alg="HS256")}, "holds no key"),
        ({"jwks": "http://keys.example/"}, "must be an https address"),
        ({"jwks": "ftp://127.0.0.1/"}, "must be an https address"),
        ({"jwks": "https://[::1"}, "must be an https address"),
    ],
)
def test_options_that_are_unsafe_or_make_no_sense(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(PenstockError, match=problem) as caught:
        JWT(**options)
    assert "AAAA" not in str(caught.value)


async def test_a_set_may_hold_a_secret_where_it_is_in_the_configuration() -> None:
    key = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")}
    assert (await JWT(jwks=key).verify(issue())).subject == "ann"


def test_it_shows_no_secret() -> None:
    auth = JWT(SECRET)
    assert SECRET not in repr(auth)
    assert SECRET not in repr(vars(vars(auth)["_keys"]))


def test_security_schemes() -> None:
    schemes = JWT(SECRET).security_schemes()
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    assert set(schemes) == {"bearer", "cookie"}
