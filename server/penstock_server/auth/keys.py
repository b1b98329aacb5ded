"""Keys that tokens are verified with, and the algorithms each is good for. Pure; needs PyJWT.

A key decides which algorithms it may be used with, the token never does. So a public key can't be
taken for an HMAC secret, ``none`` is no algorithm, and a curve has the one that was made for it
(RFC 8725 sections 3.1 and 3.2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWK, PyJWTError

from penstock import PenstockError

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}  # and the least bytes: RFC 7518 section 3.2
_KNOWN = frozenset((*_RSA, *_CURVES.values(), *_HMAC, "EdDSA"))
_MIN_RSA_BITS = 2048
_MAX_KEYS = 100


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One key.

    Attributes:
        key: as PyJWT takes it.
        algorithms: the names of those it may be used with; at least one.
        kid: its name in a key set; None where it has none.
    """

    key: Any = field(repr=False)
    algorithms: tuple[str, ...]
    kid: str | None = None


def check_algorithms(algorithms: Collection[str] | None) -> frozenset[str] | None:
    """The algorithms that a configuration allows; None is what is safe for each key.

    Raises `PenstockError` for one that isn't known, ``none`` among them.
    """
    if algorithms is None:
        return None
    names = (algorithms,) if isinstance(algorithms, str) else tuple(algorithms)
    for name in names:
        if name not in _KNOWN:
            raise PenstockError(f"JWT: algorithms: {name!r} is none of {', '.join(sorted(_KNOWN))}")
    if not names:
        raise PenstockError("JWT: algorithms is empty: no token could be verified")
    return frozenset(names)


def key_of_text(text: str | bytes, allowed: frozenset[str] | None) -> VerifyingKey:
    """The key that a secret, or a public key or certificate in PEM, is. Raises `PenstockError`."""
    given: object = text
    if not isinstance(given, str | bytes):
        raise PenstockError(f"JWT: key must be text or bytes, got {type(text).__name__}")
    raw = text.encode() if isinstance(text, str) else text
    loaded: Any = _load_pem(raw) if b"-----BEGIN" in raw else _check_secret(raw)
    return VerifyingKey(loaded, _usable(loaded, allowed, "key"))


def keys_of_document(
    document: object, allowed: frozenset[str] | None, *, secrets: bool
) -> tuple[VerifyingKey, ...]:
    """The keys of a JSON Web Key Set, or of one JSON Web Key (RFC 7517).

    Keys that are for something else, or of a kind that isn't known, are passed over, as section 5
    says. `secrets` allows symmetric keys, which no public document may hold. Raises
    `PenstockError` where no key is left.
    """
    entries: Any = document
    if isinstance(entries, Mapping):
        whole = cast("Mapping[str, Any]", entries)
        entries = whole.get("keys", [whole])
    if not isinstance(entries, list):
        raise PenstockError('jwks: wants {"keys": [...]}, or one JSON Web Key')
    wanted = cast("list[object]", entries)[:_MAX_KEYS]
    read = [_key_of_jwk(entry, allowed, secrets=secrets) for entry in wanted]
    keys = tuple(key for key in read if key is not None)
    if not keys:
        raise PenstockError("jwks: it holds no key that tokens could be verified with")
    return keys


def _key_of_jwk(
    entry: object, allowed: frozenset[str] | None, *, secrets: bool
) -> VerifyingKey | None:
    if not isinstance(entry, dict):
        return None
    jwk = cast("dict[str, Any]", entry)
    operations: Any = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list):
        return None
    if "verify" not in operations or (jwk.get("kty") == "oct" and not secrets):
        return None
    try:
        loaded: Any = PyJWK.from_dict(jwk).key
        algorithms = _usable(loaded, allowed, "jwks")
    except (PyJWTError, PenstockError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        return None
    declared: Any = jwk.get("alg")
    if declared is not None:
        algorithms = tuple(name for name in algorithms if name == declared)
    kid: Any = jwk.get("kid")
    named = kid if isinstance(kid, str) else None
    return VerifyingKey(loaded, algorithms, named) if algorithms else None


def _load_pem(raw: bytes) -> Any:
    if b"PRIVATE KEY-----" in raw:
        raise PenstockError(
            "JWT: key is a private key; a server that verifies needs only the public one"
        )
    try:
        if b"-----BEGIN CERTIFICATE-----" in raw:
            return load_pem_x509_certificate(raw).public_key()
        return load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise PenstockError("JWT: key is no public key or certificate in PEM") from None


def _check_secret(raw: bytes) -> bytes:
    start = raw.lstrip()
    if start.startswith((b"{", b"ssh-", b"ecdsa-")):
        raise PenstockError(
            "JWT: key is a secret or a public key in PEM; give a JSON Web Key as jwks="
        )
    return raw


def _usable(key: Any, allowed: frozenset[str] | None, option: str) -> tuple[str, ...]:
    good = _algorithms_of(key, option)
    usable = tuple(name for name in good if allowed is None or name in allowed)
    if not usable:
        raise PenstockError(
            f"JWT: the {option} is good for {', '.join(good)}, of which algorithms names none"
        )
    return usable


def _algorithms_of(key: Any, option: str) -> tuple[str, ...]:
    """What a key is good for. Raises `PenstockError` for one that is too weak, or unknown."""
    if isinstance(key, bytes):
        names = tuple(name for name, least in _HMAC.items() if len(key) >= least)
        if names:
            return names
        raise PenstockError(
            f"JWT: the {option} is a secret of {len(key)} bytes; at least 32 random ones are needed"
        )
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size >= _MIN_RSA_BITS:
            return _RSA
        raise PenstockError(
            f"JWT: the {option} is an RSA key of {key.key_size} bits; {_MIN_RSA_BITS} are needed"
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return (_CURVES[key.curve.name],)
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return ("EdDSA",)
    raise PenstockError(f"JWT: the {option} is of a kind that tokens can't be verified with")
