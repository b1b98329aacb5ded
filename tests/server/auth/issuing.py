"""Keys and tokens for the tests, as an identity provider would make them."""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET = "0123456789abcdef0123456789abcdef"
RIGHTS = {"subscribe": ["room.*"], "publish": ["room.1"], "jobs": ["j"], "operate": False}


@cache
def private_key(kind: str) -> Any:
    """A private key: ``rsa``, ``weak`` (RSA of 1024 bits), ``p256``, ``p384``, ``k1``, ``ed``."""
    match kind:
        case "rsa" | "rsa2":
            return rsa.generate_private_key(65537, 2048)
        case "weak":
            return rsa.generate_private_key(65537, 1024)
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "k1":
            return ec.generate_private_key(ec.SECP256K1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(kind: str) -> bytes:
    public = private_key(kind).public_key()
    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(kind: str) -> bytes:
    pem: bytes = private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def jwk(kind: str, **members: Any) -> dict[str, Any]:
    """The public key as a JSON Web Key."""
    algorithm = {"p256": "ES256", "p384": "ES384", "k1": "ES256K", "ed": "EdDSA"}.get(kind, "RS256")
    maker = jwt.get_algorithm_by_name(algorithm)
    whole: dict[str, Any] = json.loads(maker.to_jwk(private_key(kind).public_key()))
    whole.pop("key_ops", None)
    return {**whole, **members}


def issue(
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A token; good for a minute and `RIGHTS`, where the claims don't say otherwise.

    A claim that is None is left out.
    """
    all_claims = {"sub": "ann", "exp": int(time.time()) + 60, "penstock": RIGHTS, **claims}
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm, headers)


def forge(header: object, claims: object, signature: bytes = b"x") -> str:
    """Three segments in base64, whatever is in them."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
