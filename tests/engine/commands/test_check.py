"""``penstock check``: what it says, where, and the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli import main

Check = Callable[..., Result]

HEAD = "import penstock as ps\n"
FINE = HEAD + "counted = ps.from_iterable([1]).to(ps.count())\n"
WARNING = HEAD + "ticks = (\n    ps.every(1)\n    .to(ps.collect())\n)\n"
HINT = HEAD + "saved = ps.every(1).map(str).to(ps.write_lines('ticks.txt'))\n"
ERROR = HEAD + "one, two = ps.every(1).broadcast(2)\nhalf = one.to(ps.count())\n"
SERVER = """
class Server:
    def named_pipelines(self):
        return [("level", level)]
def level():
    return base.map(int)
server = Server()
"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path.copy(), set(sys.modules)

    def check(text: str, *options: str) -> Result:
        Path("checked.py").write_text(text)
        return CliRunner().invoke(main, ["check", "checked.py", *options], prog_name="penstock")

    yield check
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        del sys.modules[name]


def test_where_nothing_is_wrong_it_counts(check: Check) -> None:
    result = check(FINE)
    assert result.output == "checked.py: 1 pipeline, 0 topics, no errors\n"
    assert result.exit_code == 0


def test_two_sinks_of_a_pipeline_that_write_the_same_file(check: Check) -> None:
    items = "ps.from_iterable('ab')"
    writing = f"{items}.to(ps.write_lines('out.txt'))"
    result = check(HEAD + f"both = ps.gather(\n    {writing},\n    {writing},\n)\n")
    assert result.exit_code == 1
    assert "checked.py:4: write_lines(out.txt): writes " in result.output
    assert "out.txt, and so does write_lines(out.txt) (" in result.output
    assert "checked.py:3); one would replace" in result.output


def test_warnings_and_hints_have_a_line_each_and_no_status(check: Check) -> None:
    result = check(WARNING + HINT.removeprefix(HEAD))
    warning, hint, summary = result.stdout.splitlines()
    assert warning == (
        "checked.py:4: warning: collect: its memory grows with the stream, and every(1) never ends"
    )
    assert hint.startswith("checked.py:6: hint: write_lines(ticks.txt): the file appears when ")
    assert summary == "checked.py: 2 pipelines, 0 topics, no errors, 1 warning, 1 hint"
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(("text", "status"), [(FINE, 0), (HINT, 0), (WARNING, 1), (ERROR, 1)])
def test_strict_makes_warnings_errors(check: Check, text: str, status: int) -> None:
    assert check(text, "--strict").exit_code == status


def test_an_error_of_the_plan_is_a_line(check: Check) -> None:
    result = check(ERROR)
    assert result.exit_code == 1
    assert result.stderr.startswith("checked.py:2: broadcast: branch 2 of 2 goes nowhere; ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == (
        "checked.py:2: warning: broadcast[1]: no pipeline reads two: end it in a sink,"
        " .to(collect())\n"
    )


def test_an_error_hides_nothing_else_of_the_file(check: Check) -> None:
    text = ERROR.replace("one.to(", "one.distinct(max_keys=None).to(") + (
        "lonely = ps.from_iterable([1]).map(str)\n"
        "yes, no = ps.from_iterable([1]).partition(bool)\n"
        "left, right = yes.broadcast(2)\n"
        "parts = ps.gather(left.to(ps.count()))\n"
        "ticks = ps.every(1).to(ps.collect())\n"
    )
    result = check(text)
    assert result.exit_code == 1
    assert [line.rpartition(";")[0] for line in result.stderr.splitlines()] == [
        "checked.py:2: broadcast: branch 2 of 2 goes nowhere",
        "checked.py:5: partition: branch 2 of 2 goes nowhere",
        "checked.py:6: broadcast: branch 2 of 2 goes nowhere",
    ]
    memory, endless, *loose = result.stdout.splitlines()
    assert memory.startswith("checked.py:3: warning: distinct: its memory grows with the number")
    assert endless.startswith("checked.py:8: warning: collect: its memory grows with the stream")
    assert [line.partition(": end it")[0] for line in loose] == [
        "checked.py:2: warning: broadcast[1]: no pipeline reads two",
        "checked.py:4: warning: map(str): no pipeline reads lonely",
        "checked.py:5: warning: partition.others: no pipeline reads no",
        "checked.py:6: warning: broadcast[1]: no pipeline reads right",
    ]


def test_nor_does_a_topic_that_can_not_be_built(check: Check) -> None:
    text = WARNING + "base = ps.every(1)\nlonely = ps.every(2)\n" + SERVER
    text = text.replace("[(", "[('odd', odd), (") + "def odd():\n    return base.batch(0)\n"
    text = text.replace("base.map", "ps.every(3).map")
    result = check(text, "--json")
    *found, summary = map(json.loads, result.stdout.splitlines())
    assert [(each["level"], each["line"], each["stage"]) for each in found] == [
        ("warning", 4, "collect"),
        ("hint", 13, "map(int)"),
        ("error", 16, None),
        ("warning", 7, "every(2)"),  # and not base, which the topic may have read
    ]
    assert (summary["pipelines"], summary["topics"], summary["errors"]) == (1, 2, 1)


def test_nor_does_a_server_that_can_not_say_what_it_has(check: Check) -> None:
    text = (
        WARNING
        + "base = ps.every(1)\n"
        + SERVER
        + (
            "class Broken(Server):\n"
            "    def named_pipelines(self):\n"
            "        raise OSError('no topics')\n"
            "broken = Broken()\n"
        )
    )
    result = check(text)
    assert (result.exit_code, result.stderr) == (1, "checked.py:16: OSError: no topics\n")
    warning, hint = result.stdout.splitlines()
    assert "every(1) never ends" in warning
    assert "map(int): an error here ends the run" in hint


@pytest.mark.parametrize(
    "use",
    [
        "print(ps.run(words.to(ps.collect())))\n",
        "ps.run(words.filter(bool).map(len).to(ps.count()))\n",
        "async def main():\n    async with words.open() as run:\n        pass\n",
        "def later(other):\n    return ps.merge(words, other).to(ps.count())\n",
    ],
)
def test_a_stream_that_is_ended_inline_is_read(check: Check, use: str) -> None:
    result = check(HEAD + "words = ps.from_iterable(['pen', 'stock'])\n" + use, "--strict")
    assert result.stdout.endswith("checked.py: 0 pipelines, 0 topics, no errors\n")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_stream_that_the_code_uses_in_some_other_way_may_be_meant_so(check: Check) -> None:
    text = HEAD + "words = ps.from_iterable(['pen'])\nprint(words.graph().text())\n"
    result = check(text, "--strict")
    *_, hint, summary = result.stdout.splitlines()
    assert hint == (
        "checked.py:2: hint: from_iterable: no pipeline with a name reads words: end it in a sink,"
        " .to(collect())"
    )
    assert summary == "checked.py: 0 pipelines, 0 topics, no errors, 1 hint"
    assert result.exit_code == 0


def test_a_deadlock_is_an_error(check: Check) -> None:
    text = HEAD + (
        "one, two = ps.from_iterable([1, 2]).broadcast(2)\n"
        "paired = ps.zip(one.filter(bool), two).to(ps.count())\n"
    )
    result = check(text)
    assert result.exit_code == 1
    assert result.stderr.startswith("checked.py:3: zip: it could wait for ever once ")


def test_a_function_that_no_process_can_import(check: Check) -> None:
    text = HEAD + "\nsquares = ps.from_iterable([1]).map_blocking(lambda n: n, 2, on='process')\n"
    result = check(text)
    assert result.exit_code == 1
    assert result.stderr.startswith("checked.py:3: map_blocking: f must be importable by name")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lonely = ps.from_iterable([1]).map(str)\n", 2),
        ("base = ps.every(1)\nlonely = base.map(str)\n", 3),  # and not base, which it reads
        ("base = ps.every(1)\ncounted = base.to(ps.count())\nlonely = base.map(str)\n", 4),
    ],
)
def test_a_stream_that_nothing_reads_is_named(check: Check, text: str, line: int) -> None:
    result = check(HEAD + text)
    warning, _summary = result.stdout.splitlines()
    assert warning == (
        f"checked.py:{line}: warning: map(str): no pipeline reads lonely: end it in a sink,"
        " .to(collect())"
    )


def test_a_stream_that_a_topic_or_a_pipeline_reads_is_not(check: Check) -> None:
    read = HEAD + "base = ps.every(1)\n_private = base.map(str)\n" + SERVER
    (hint, summary) = check(read).stdout.splitlines()
    assert hint.startswith("checked.py:9: hint: map(int): an error here ends the run, and the ")
    assert summary == "checked.py: 0 pipelines, 1 topic, no errors, 1 hint"
    assert "warning" not in check(FINE + "also = counted\n").stdout


def test_a_stage_that_several_pipelines_share_is_told_of_once(check: Check) -> None:
    text = HEAD + (
        "keyed = ps.from_iterable([1]).distinct(max_keys=None)\n"
        "one = keyed.to(ps.count())\n"
        "two = keyed.to(ps.drain())\n"
    )
    assert check(text).stdout.count("warning: distinct") == 1


def test_a_stage_of_another_file_is_shown_there(check: Check) -> None:
    Path("parts_of_it.py").write_text(HEAD + "\ndef listed(s):\n    return s.to(ps.collect())\n")
    text = HEAD + "from parts_of_it import listed\nticks = listed(ps.every(1))\n"
    assert check(text).stdout.startswith("parts_of_it.py:4: warning: collect: ")


def test_json(check: Check) -> None:
    text = "print('loading')\n" + WARNING
    result = check(text, "--json")
    finding, summary = map(json.loads, result.stdout.splitlines())
    assert finding == {
        "type": "finding",
        "level": "warning",
        "stage": "collect",
        "problem": "its memory grows with the stream, and every(1) never ends",
        "file": "checked.py",
        "line": 5,
    }
    counted = {"pipelines": 1, "topics": 0, "errors": 0, "warnings": 1, "hints": 0}
    assert summary == {"type": "summary", "file": "checked.py", **counted}
    assert (result.exit_code, result.stderr) == (0, "loading\n")
    assert check(text, "--json", "--strict").exit_code == 1


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("x = (\n", 1, "SyntaxError: '(' was never closed"),
        (HEAD + "ps.every(0)\n", 2, "every: seconds must be more than 0 seconds, got 0"),
    ],
)
def test_json_of_a_file_that_can_not_be_loaded(
    check: Check, text: str, line: int, problem: str
) -> None:
    result = check(text, "--json")
    finding, summary = map(json.loads, result.stdout.splitlines())
    assert (finding["level"], finding["line"], finding["problem"]) == ("error", line, problem)
    assert finding["stage"] is None
    assert summary["errors"] == 1
    assert (result.exit_code, result.stderr) == (1, "")
