"""Certificates for servers of tests, and clients that believe them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class TestAuthority:
    """A certificate of its own authority, in files."""

    __test__ = False

    certfile: Path
    keyfile: Path
    authority: trustme.CA

    @property
    def options(self) -> tuple[str, ...]:
        """For ``penstock serve``."""
        return ("--certfile", str(self.certfile), "--keyfile", str(self.keyfile))

    def client(self, *protocols: str) -> ssl.SSLContext:
        """A context that trusts it, and offers those protocols by ALPN."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


def make_certificate(directory: Path) -> TestAuthority:
    """A certificate for loopback, written to a directory."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certfile, keyfile = directory / "certificate.pem", directory / "key.pem"
    certfile.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    keyfile.write_bytes(issued.private_key_pem.bytes())
    return TestAuthority(certfile, keyfile, authority)
