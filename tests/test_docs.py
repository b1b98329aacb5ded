"""What the pages in docs/ show and name is what there is."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import click
import msgspec
import pytest

import penstock as ps
from penstock.cli import main
from penstock.config import load
from penstock.wire import MSGPACK, CloseCode, ErrorCode, ServerMessage, may_reconnect
from penstock_server import Limits, Server, Timing

ROOT = Path(__file__).parent.parent
PAGES = {
    page.name: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))
}

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)


def blocks(page: str, *kinds: str) -> list[str]:
    """The fenced blocks of one page; of these kinds where any are given."""
    found = _FENCE.finditer(PAGES[page])
    return [dedent(each["text"]) for each in found if not kinds or each["kind"] in kinds]


def without_blocks(page: str) -> str:
    return _FENCE.sub("", PAGES[page])


PYTHON = [
    pytest.param(text, id=f"{page}-{number}")
    for page in PAGES
    for number, text in enumerate(blocks(page, "python"))
]


def test_there_is_every_page() -> None:
    names = "coming-from deployment index protocol security tuning"
    assert {f"{name}.md" for name in names.split()} <= set(PAGES)


@pytest.mark.parametrize("block", PYTHON)
def test_each_block_of_python_loads_and_its_topics_build(block: str, tmp_path: Path) -> None:
    path = tmp_path / "pipelines.py"
    path.write_text(block, encoding="utf-8")

    file = load(path)

    assert any(isinstance(value, Server) for value in vars(file.module).values())
    for name, builder in file.topics():
        assert isinstance(file.build(name, builder), ps.Stream)


# Links


def _links() -> Iterator[Any]:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
            if not re.match(r"[a-z]+:", target):
                yield pytest.param(page, target, id=f"{page}->{target}")


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.replace("`", "")) for heading in headings]
    return {heading.lower().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize(("page", "target"), list(_links()))
def test_each_link_leads_somewhere(page: str, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = ROOT / "docs" / (name or page)
    assert path.exists()
    if anchor:
        assert anchor in _anchors(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_the_scripts_and_examples_it_names_are_there(page: str) -> None:
    named = re.findall(r"\b(?:scripts|examples)/[\w.-]*\w", PAGES[page])
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_the_index_names_every_page() -> None:
    index = PAGES["index.md"]
    assert [page for page in PAGES if page != "index.md" and f"]({page})" not in index] == []


# Settings


def _table(page: str, mark: str) -> dict[str, str]:
    """First and second column of the table below a comment."""
    _, _, rest = PAGES[page].partition(f"<!-- table: {mark} -->\n")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {name.strip("`"): value for name, value, *_ in cells}


@pytest.mark.parametrize(
    ("page", "settings"), [("security.md", Limits()), ("tuning.md", Timing())], ids=str
)
def test_the_tables_of_settings_are_the_defaults(page: str, settings: Limits | Timing) -> None:
    shown = _table(page, type(settings).__name__)
    assert shown == {
        field.name: _written(getattr(settings, field.name)) for field in fields(settings)
    }


def test_the_table_of_topic_options_is_complete_and_right() -> None:
    parameters = inspect.signature(Server.topic).parameters
    options = {
        name: each.default for name, each in parameters.items() if each.kind == each.KEYWORD_ONLY
    }
    assert _table("tuning.md", "topic") == {
        name: _written(default) for name, default in options.items()
    }


def test_the_table_of_job_options_is_complete_and_right() -> None:
    parameters = inspect.signature(Server.job).parameters
    options = {
        name: each.default for name, each in parameters.items() if each.kind == each.KEYWORD_ONLY
    }
    assert _table("jobs.md", "job") == {name: _written(each) for name, each in options.items()}


def _written(value: object) -> str:
    return f"{value:,.10g}" if isinstance(value, int | float) else f"`{value!r}`"


def _commands() -> dict[str, set[str]]:
    """The options of every command."""
    context = click.Context(main)
    names = main.list_commands(context)
    commands = {name: main.get_command(context, name) for name in names}
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands.items()
        if command is not None
    }


_COMMAND = re.compile(r"""penstock["',]*\s+"?(?P<name>[a-z]+)\b(?P<rest>.*)""")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


@pytest.mark.parametrize("page", PAGES)
def test_each_option_of_a_command_is_one(page: str) -> None:
    commands = _commands()
    for line in PAGES[page].splitlines():
        command = _COMMAND.search(line)
        if command is not None and command["name"] in commands:
            assert set(_OPTION.findall(command["rest"])) <= commands[command["name"]], line
    alone = re.findall(r"`(--[a-z-]+)", without_blocks(page))
    assert set(alone) <= set().union(*commands.values())


# The protocol


def _rows(heading: str) -> list[list[str]]:
    """The cells of the first table of a section of the protocol."""
    section = PAGES["protocol.md"].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|(.+)\|$", section, re.MULTILINE)[2:]
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_it_has_every_error_code() -> None:
    assert {row[0].strip("`") for row in _rows("Error codes")} == {str(each) for each in ErrorCode}


def test_it_has_every_close_code_and_whether_to_come_back() -> None:
    shown = {int(row[0][:4]): row[2].startswith("yes") for row in _rows("Close codes")}
    assert set(map(int, CloseCode)) <= set(shown)
    assert shown == {code: may_reconnect(code) for code in shown}


def _examples() -> Iterator[Any]:
    """Every JSON value in the blocks of the protocol; on lines of SSE and of conversations, too."""
    for block in blocks("protocol.md"):
        for line in block.splitlines():
            text = re.sub(r"^(> |  |data: )", "", line)
            if re.match(r"\{\"|\[\{", text):
                yield json.loads(text)


def test_each_message_it_shows_is_one() -> None:
    """Of the client's own, too, which have the same types but for these."""
    known = {kind.__struct_config__.tag: kind for kind in get_args(ServerMessage)}
    known |= {"event": None, "subscribe": None, "unsubscribe": None, "publish": None, "ping": None}
    shown: set[str] = set()
    for value in _examples():
        for message in value if isinstance(value, list) else [value]:
            kind = message.get("type")
            if kind is None or kind == "about:blank":
                continue
            shown.add(kind)
            struct = known[kind]
            if struct is not None:
                assert set(message) - {"type"} <= set(struct.__struct_fields__)
                msgspec.convert(message, struct)
    assert shown == set(known) - {"pong"} - {"ping"}


def test_each_message_is_in_its_table() -> None:
    named = {row[0].strip("`") for row in _rows("Messages")}
    assert {str(kind.__struct_config__.tag) for kind in get_args(ServerMessage)} <= named
    assert {"event", "subscribe", "unsubscribe", "publish", "ping"} <= named


def _bytes(block: str) -> bytes:
    """What a block shows in hexadecimal, each line with what it means after a ``#``."""
    return bytes.fromhex(" ".join(line.partition("#")[0] for line in block.splitlines()))


def test_the_bytes_of_messagepack_are_right() -> None:
    shown = next(each for each in blocks("protocol.md", "text") if each.startswith("84 "))
    data = msgspec.msgpack.encode({"text": "hello"})
    assert _bytes(shown) == MSGPACK.event("notes", "9jlnveew0a-1", data, None)


def test_the_bytes_of_the_frame_are_right() -> None:
    shown = next(each for each in blocks("protocol.md", "text") if each.startswith("81 "))
    frame = _bytes(shown)
    mask, masked = frame[2:6], frame[6:]
    assert frame[:2] == bytes([0x81, 0x80 | len(masked)])
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))
    assert payload == b'[{"type":"ping"}]'


# Operations


def test_every_metric_it_names_is_exposed() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "server" / "penstock_server" / "metrics").glob("*.py")
    )
    known = set(re.findall(r'"(penstock_[a-z_]+)"', source))
    named = {
        name.removesuffix("_total")
        for page in PAGES.values()
        for name in re.findall(r"\bpenstock_(?!server|token)[a-z_]+", page)
    }
    assert named
    assert named <= known


def test_every_configuration_it_marks_is_tested() -> None:
    marked = re.findall(r"<!-- snippet: (\S+) -->", PAGES["deployment.md"])
    tests = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "proxies").glob("*.py")
    )
    assert len(marked) == 4
    assert [name for name in marked if f'"{name}"' not in tests] == []
