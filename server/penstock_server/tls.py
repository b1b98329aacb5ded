"""The certificate that a server shows: found wanting before it serves, with what to do about it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from penstock import PenstockError


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM: the certificate with its chain, and its private key, unencrypted."""

    certfile: Path
    keyfile: Path


def read_certificate(certfile: Path | None, keyfile: Path | None) -> Certificate | None:
    """The certificate, once it has been tried; None where no file is given.

    Raises `PenstockError`, one line, for one file without the other, files that can't be read or
    hold something else, a key that is encrypted, and a key of another certificate.
    """
    if certfile is None and keyfile is None:
        return None
    if certfile is None:
        raise PenstockError("--keyfile is given without --certfile: TLS needs both")
    if keyfile is None:
        raise PenstockError("--certfile is given without --keyfile: TLS needs both")
    _require_pem("--certfile", certfile, "CERTIFICATE", "a certificate")
    _require_pem("--keyfile", keyfile, "PRIVATE KEY", "a private key")
    _try_together(certfile, keyfile)
    return Certificate(certfile, keyfile)


def _require_pem(option: str, path: Path, label: str, what: str) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PenstockError(f"{option} {path}: {error.strerror or error}") from error
    if f"{label}-----".encode() not in content:
        raise PenstockError(f"{option} {path}: no {what.removeprefix('a ')} in PEM in it")


def _try_together(certfile: Path, keyfile: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asked: list[bool] = []

    def no_password() -> str:
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(certfile, keyfile, password=no_password)
    except (ssl.SSLError, ValueError) as error:
        raise PenstockError(_explain(certfile, keyfile, error, encrypted=bool(asked))) from error


def _explain(certfile: Path, keyfile: Path, error: Exception, *, encrypted: bool) -> str:
    if encrypted:
        return (
            f"--keyfile {keyfile}: the key is encrypted, and nobody can be asked for its password;"
            " decrypt it with: openssl pkey"
        )
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"--keyfile {keyfile}: not the key of the certificate in {certfile}"
    return f"--certfile {certfile}, --keyfile {keyfile}: {getattr(error, 'reason', None) or error}"
