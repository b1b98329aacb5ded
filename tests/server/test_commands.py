"""``penstock serve``: what it refuses before it serves, and what it tells Hypercorn."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from penstock_server import Limits, Server, Timing
from penstock_server.commands import hypercorn_config, parse_bind, serve

CONFIG = "from penstock_server import Server\nserver = Server()\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "served_config.py"
    path.write_text(CONFIG)
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(serve, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("bind", "parsed"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("localhost:0", ("localhost", 0)),
        (":9000", ("127.0.0.1", 9000)),
        ("[::1]:443", ("::1", 443)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_bind_is_host_and_port(bind: str, parsed: tuple[str, int]) -> None:
    assert parse_bind(bind) == parsed


@pytest.mark.parametrize(
    "bind", ["8000", "localhost", "localhost:", "a:65536", "a:-1", "a:x", "a:\u0661", ""]
)
def test_a_bind_that_is_none_is_a_usage_error(bind: str, config: Path) -> None:
    with pytest.raises(click.BadParameter):
        parse_bind(bind)
    result = invoke(config, "--bind", bind)
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.output


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "example.org:0"])
def test_beyond_loopback_only_when_told(bind: str, config: Path) -> None:
    result = invoke(config, "--bind", bind)
    assert result.exit_code == 2
    assert "--insecure" in result.output
    assert bind in result.output


def test_beyond_loopback_with_auth_but_not_in_clear_text_without_a_word(
    config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def not_now(*_: object) -> int:
        return 0

    monkeypatch.setattr("trio.run", not_now)
    config.write_text(
        "from penstock_server import ApiKeys, Server\nserver = Server(auth=ApiKeys({}))\n"
    )
    assert invoke(config, "--bind", "0.0.0.0:0").exit_code == 0
    assert "tokens come to 0.0.0.0:0 in clear text" in caplog.text
    caplog.clear()
    assert invoke(config, "--bind", "127.0.0.1:0").exit_code == 0
    assert "clear text" not in caplog.text


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("server = 1\n", 1, "no Server in it"),
        ("import penstock\n\npenstock.nothing()\n", 3, "nothing"),
        ("def broken(:\n", 1, "invalid syntax"),
        (CONFIG + 'server.topic("a", retain=0)\n', 3, "retain must be"),
        (CONFIG + "other = Server()\n", 1, "2 of Server in it: server, other"),
        ("from penstock_server import Timing\n\nTiming(grace=-1)\n", 3, "grace must be"),
    ],
)
def test_a_config_error_is_one_line_with_its_place(
    config: Path, content: str, line: int, problem: str
) -> None:
    config.write_text(content)
    result = invoke(config)
    assert result.exit_code == 1
    (said,) = result.stderr.splitlines()
    assert f"{config}:{line}: " in said
    assert problem in said


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    result = invoke(tmp_path / "none.py")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "no such file" in result.stderr


async def test_hypercorn_is_told_the_limits() -> None:
    server = Server(limits=Limits(max_message_bytes=1234), timing=Timing(grace=7))
    config = hypercorn_config(server, "::1", 8000)
    assert config.bind == ["[::1]:8000"]
    assert config.websocket_max_message_size == 1234
    assert config.graceful_timeout == 7
    assert hypercorn_config(server, "127.0.0.1", 0).bind == ["127.0.0.1:0"]
