"""A certificate is tried before the server starts, and what is wrong with it is one line."""

from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from penstock import PenstockError
from penstock_server import Server
from penstock_server.commands import hypercorn_config, serve
from penstock_server.tls import Certificate, read_certificate


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files by what is in them."""
    first, second = trustme.CA().issue_cert("localhost"), trustme.CA().issue_cert("localhost")
    key = serialization.load_pem_private_key(first.private_key_pem.bytes(), password=None)
    content = {
        "certificate": first.cert_chain_pems[0].bytes(),
        "key": first.private_key_pem.bytes(),
        "both": first.private_key_and_cert_chain_pem.bytes(),
        "other": second.private_key_pem.bytes(),
        "text": b"hello",
        "broken": b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
        "encrypted": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in [*content, "none", "."]}


def test_no_files_are_no_tls() -> None:
    assert read_certificate(None, None) is None


@pytest.mark.parametrize(("certificate", "key"), [("certificate", "key"), ("both", "both")])
def test_a_certificate_and_its_key(files: dict[str, Path], certificate: str, key: str) -> None:
    expected = Certificate(files[certificate], files[key])
    assert read_certificate(files[certificate], files[key]) == expected


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        ("certificate", None, "--certfile is given without --keyfile"),
        (None, "key", "--keyfile is given without --certfile"),
        ("none", "key", "--certfile {0}: No such file or directory"),
        ("certificate", "none", "--keyfile {1}: No such file or directory"),
        (".", "key", "--certfile {0}: Is a directory"),
        ("text", "key", "--certfile {0}: no certificate in PEM in it"),
        ("key", "key", "--certfile {0}: no certificate in PEM in it"),
        ("certificate", "certificate", "--keyfile {1}: no private key in PEM in it"),
        ("certificate", "other", "--keyfile {1}: not the key of the certificate in {0}"),
        ("certificate", "encrypted", "the key is encrypted"),
        ("broken", "key", "--certfile {0}, --keyfile {1}: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    files: dict[str, Path], certificate: str | None, key: str | None, problem: str
) -> None:
    given = [None if name is None else files[name] for name in (certificate, key)]
    with pytest.raises(PenstockError) as raised:
        read_certificate(*given)
    said = str(raised.value)
    assert problem.format(*given) in said
    assert "\n" not in said
    assert "secret" not in said


def test_the_command_ends_before_it_serves(files: dict[str, Path], tmp_path: Path) -> None:
    config = tmp_path / "tls_config.py"
    config.write_text("from penstock_server import Server\nserver = Server()\n")
    result = CliRunner().invoke(serve, [str(config), "--keyfile", str(files["key"])])
    assert result.exit_code == 1
    assert result.stderr == "error: --keyfile is given without --certfile: TLS needs both\n"


async def test_hypercorn_is_told_the_files(files: dict[str, Path]) -> None:
    certificate = Certificate(files["certificate"], files["key"])
    config = hypercorn_config(Server(), "127.0.0.1", 0, certificate)
    assert config.ssl_enabled
    assert (config.certfile, config.keyfile) == (str(files["certificate"]), str(files["key"]))
    assert config.alpn_protocols == ["h2", "http/1.1"]
    assert not hypercorn_config(Server(), "127.0.0.1", 0).ssl_enabled
