"""The command line: what it prints, where, and the exit status. No traceback, whatever happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import penstock as ps
from penstock._commands import plugins
from penstock.cli import main

Penstock = Callable[..., Result]

PIPELINES = """
import penstock as ps

def parse(x):
    if x == 5:
        raise ValueError("five\\nis out")
    return x

numbers = ps.from_iterable(range(8))
counted = numbers.to(ps.count())
silent = numbers.to(ps.drain())
"""
FAILING = "failing = numbers.map(parse).to(ps.collect())\n"
SERVER = """
class Server:
    def named_pipelines(self):
        return [(f.__name__, f) for f in (cpu, memory)]
def memory(): return ps.every(1)
server = Server()
"""


@pytest.fixture
def penstock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Penstock]:
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path.copy(), set(sys.modules)

    def penstock(*arguments: str, file: str | None = None) -> Result:
        if file is not None:
            Path("cli_config.py").write_text(file)
        return CliRunner().invoke(main, arguments, prog_name="penstock")

    yield penstock
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        del sys.modules[name]


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


# Help


def test_version(penstock: Penstock) -> None:
    assert penstock("--version").output == f"penstock {ps.__version__}\n"


def test_help_lists_every_command_with_examples(penstock: Penstock) -> None:
    shown = penstock("--help").output
    for command in ("run", "check", "graph", "tail", "serve"):
        assert f"\n  {command} " in shown
    for command in ("run", "check", "graph", "tail"):
        shown = penstock(command, "--help").output
        assert f"  Examples:\n    penstock {command} " in shown


# run


def test_run_runs_all_in_order_and_prints_results_apart_from_reports(penstock: Penstock) -> None:
    result = penstock("run", "cli_config.py", file=PIPELINES)
    assert result.exit_code == 0
    assert result.stdout == "counted: 8\n"  # None, of drain, is no result to show
    counted, silent = result.stderr.index("counted\n"), result.stderr.index("silent\n")
    assert counted < silent
    assert "from_iterable   0    8 " in result.stderr
    assert "done after" in result.stderr


def test_run_one_by_name(penstock: Penstock) -> None:
    result = penstock("run", "cli_config.py:counted", file=PIPELINES)
    assert (result.exit_code, result.stdout) == (0, "8\n")


def test_a_failure_is_one_line_and_ends_the_command(penstock: Penstock) -> None:
    result = penstock("run", "cli_config.py", file=f"{PIPELINES}{FAILING}last = counted\n")
    line = f"(stage written at {Path.cwd()}/cli_config.py:12)"
    assert result.exit_code == 1
    assert result.stderr.endswith(
        f"error: map(parse) failed on item 5: ValueError: five is out {line}\n"
    )
    assert "failed after" in result.stderr  # the report is shown all the same
    assert "Traceback" not in result.output


def test_a_failure_says_what_is_not_run(penstock: Penstock) -> None:
    text = PIPELINES.replace("counted =", f"{FAILING}counted =")
    result = penstock("run", "cli_config.py", file=text)
    assert result.exit_code == 1
    assert result.stderr.endswith("not run: counted, silent\n")
    assert result.stdout == ""


def test_several_failures_are_a_line_each(penstock: Penstock) -> None:
    text = """
import penstock as ps, trio
async def fail(error):
    raise error
async def both(receive, send):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, ValueError("one"))
        nursery.start_soon(fail, KeyError("two"))
bad = ps.from_iterable([1]).via(ps.transform(both)).to(ps.drain())
"""
    result = penstock("run", "cli_config.py", file=text)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == 1
    assert sorted(error.split(" (")[0] for error in errors) == [
        "error: both failed: KeyError: 'two'",
        "error: both failed: ValueError: one",
    ]


def test_json_has_an_object_a_pipeline(penstock: Penstock) -> None:
    odd = "odd = numbers.to(ps.fold(0, lambda a, b: object))\n"
    result = penstock("run", "cli_config.py", "--json", file=PIPELINES + odd + FAILING)
    counted, silent, odd_one, failing = map(json.loads, result.stdout.splitlines())
    assert (counted["name"], counted["result"], counted["outcome"]) == ("counted", 8, "done")
    assert counted["error"] is None
    assert counted["seconds"] > 0
    assert [stage["name"] for stage in counted["stages"]] == ["from_iterable", "count"]
    assert [stage["task"] for stage in counted["stages"]] == [1, 1]  # as the graph has it
    assert counted["stages"][0]["where"].endswith("cli_config.py:9")
    assert counted["bottleneck"] in ("from_iterable", "count")
    assert silent["result"] is None
    assert odd_one["result"] == "<class 'object'>"
    assert (failing["outcome"], failing["result"]) == ("failed", None)
    assert failing["error"].startswith("map(parse) failed on item 5: ValueError: five is out")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_json_shows_what_is_in_the_buffers(penstock: Penstock) -> None:
    text = PIPELINES + "buffered = numbers.buffer(3).to(ps.count())\n"
    result = penstock("run", "cli_config.py:buffered", "--json", file=text)
    [buffer] = json.loads(result.stdout)["buffers"]
    assert (buffer["before"], buffer["capacity"], buffer["passed"]) == ("buffer", 3, 8)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "name one at the top level: counted = ps.read_lines('x.log').to(ps.count())"),
        (
            "import penstock as ps\nxs = ps.from_iterable([1])\n",
            "it has a Stream, xs: end it in a sink, .to(collect())",
        ),
        (
            f"import penstock as ps\ndef cpu(): ...\n{SERVER}",
            "it has a server: penstock serve cli_config.py",
        ),
    ],
)
def test_nothing_to_run(penstock: Penstock, text: str, hint: str) -> None:
    result = penstock("run", "cli_config.py", file=text)
    assert result.exit_code == 2
    assert result.stderr == f"cli_config.py:1: no Pipeline to run; {hint}\n"


# Files that can't be used: the same line from each command


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = (\n", "cli_config.py:1: SyntaxError: '(' was never closed"),
        ("\nraise OSError('a\\nb')\n", "cli_config.py:2: OSError: a b"),
        ("import penstock as ps\nps.evry\n", "cli_config.py:2: AttributeError: module 'penstock'"),
        ("nonsense\n", "cli_config.py:1: NameError: name 'nonsense' is not defined"),
        ("import nosuch\n", "cli_config.py:1: ModuleNotFoundError: No module named 'nosuch'; pip"),
        ("exit(4)\n", "cli_config.py:1: it ends the program while it is loaded (SystemExit: 4);"),
        (
            "import penstock as ps\n\nx = ps.from_iterable([]).take(-1)\n",
            "cli_config.py:3: take: count must be a whole number of at least 0, got -1",
        ),
        (
            "def f(): f()\nf()\n",
            "cli_config.py:1: RecursionError: maximum recursion depth exceeded",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "check", "graph"])
def test_a_bad_file_is_one_line(penstock: Penstock, command: str, text: str, line: str) -> None:
    result = penstock(command, "cli_config.py", file=text)
    assert result.exit_code == 1
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["run", "check", "graph"])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("missing.py", "missing.py: no such file\n"),
        (".", ".: it is a folder; name a Python file in it\n"),
        ("x.toml", "x.toml: not a Python file; give a file that ends in .py\n"),
    ],
)
def test_no_python_file(penstock: Penstock, command: str, name: str, line: str) -> None:
    Path("x.toml").touch()
    result = penstock(command, name)
    assert (result.exit_code, result.output) == (1, line)


@pytest.mark.parametrize("command", ["run", "graph"])
def test_a_name_that_is_missing(penstock: Penstock, command: str) -> None:
    result = penstock(command, "cli_config.py:countd", file=PIPELINES)
    said = "no countd in it. Did you mean: 'counted'?; it has counted, silent"
    assert (result.exit_code, result.output) == (1, f"cli_config.py:1: {said}\n")


def test_a_bad_file_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import penstock as ps\nps.nonsense()\n")
    process = started("run", "bad.py", cwd=tmp_path)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err == "bad.py:2: AttributeError: module 'penstock' has no attribute 'nonsense'\n"


def test_an_error_nobody_foresaw_is_a_line_too(
    penstock: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: str) -> None:
        raise RuntimeError("never\nforeseen")

    monkeypatch.setattr("penstock._commands.run.load", load)
    result = penstock("run", "cli_config.py")
    said = "unexpected RuntimeError: never foreseen (PENSTOCK_TRACEBACK=1 shows where from)"
    assert (result.exit_code, result.output) == (1, f"error: {said}\n")
    monkeypatch.setenv("PENSTOCK_TRACEBACK", "1")
    assert isinstance(penstock("run", "cli_config.py").exception, RuntimeError)


# check


def test_check_counts(penstock: Penstock) -> None:
    text = f"{PIPELINES}def cpu(): return ps.every(1)\n{SERVER}"
    result = penstock("check", "cli_config.py", file=text)
    assert result.output == "cli_config.py: 2 pipelines, 2 topics, no errors\n"
    assert result.exit_code == 0


def test_check_runs_nothing(penstock: Penstock) -> None:
    text = "import penstock as ps\np = ps.from_iterable([1]).map(exit).to(ps.drain())\n"
    result = penstock("check", "cli_config.py", file=text)
    assert (result.exit_code, result.output) == (
        0,
        "cli_config.py: 1 pipeline, 0 topics, no errors\n",
    )


def test_check_shows_the_errors_of_all_topics(penstock: Penstock) -> None:
    text = f"import penstock as ps\ndef cpu():\n    return ps.every(0)\n{SERVER}".replace(
        "return ps.every(1)", "return 1"
    )
    result = penstock("check", "cli_config.py", file=text)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "cli_config.py:3: every: seconds must be more than 0 seconds, got 0",
        "cli_config.py:8: memory must give a Stream or a Pipeline, but gave 1",
    ]


# graph


def test_graph_draws_pipelines_and_topics_with_their_names(penstock: Penstock) -> None:
    text = f"{PIPELINES}def cpu(): return ps.every(1).buffer(5)\n{SERVER}"
    result = penstock("graph", "cli_config.py", file=text)
    assert result.exit_code == 0
    titles = [line for line in result.stdout.splitlines() if line.startswith("title: ")]
    assert titles == ['title: "counted"', 'title: "silent"', 'title: "cpu"', 'title: "memory"']
    assert result.stdout.count("flowchart LR") == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("counted", "counted\ntask 1: from_iterable → count\n"),
        ("numbers", "numbers\ntask 1: from_iterable\n"),
        ("memory", "memory\ntask 1: every(1)\n"),
    ],
)
def test_graph_of_one(penstock: Penstock, name: str, text: str) -> None:
    file = f"{PIPELINES}def cpu(): return ps.every(1)\n{SERVER}"
    result = penstock("graph", f"cli_config.py:{name}", "--format", "text", file=file)
    assert (result.exit_code, result.output) == (0, text)


def test_graph_in_dot(penstock: Penstock) -> None:
    result = penstock("graph", "cli_config.py:counted", "--format", "dot", file=PIPELINES)
    assert result.output.startswith('digraph "counted" {')


def test_graph_of_nothing(penstock: Penstock) -> None:
    result = penstock("graph", "cli_config.py", file="")
    said = "cli_config.py:1: no pipelines and no topics to draw\n"
    assert (result.exit_code, result.output) == (2, said)


# Commands of other packages


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make ``extra`` a command that an installed package adds by this entry point."""

    def add(value: str) -> None:
        point = EntryPoint("extra", value, plugins.ENTRY_POINTS)

        def entry_points(group: str, name: str = "extra") -> list[EntryPoint]:
            return [point] if (group, name) == (point.group, point.name) else []

        monkeypatch.setattr(plugins, "entry_points", entry_points)

    return add


@click.command()
def greet() -> None:
    """Say hello."""
    click.echo("hello")


def test_another_package_adds_a_command(
    penstock: Penstock, entry_point: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "greeting", sys.modules[__name__])
    entry_point("greeting:greet")
    assert penstock("extra").output == "hello\n"
    assert re.search(r"^  extra +Say hello\.$", penstock("--help").output, re.MULTILINE)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nosuchpackage:command", "it needs more: pip install nosuchpackage"),
        (
            "penstock_server.nosuch:serve",
            "it needs more: pip install '.[server]' in penstock's checkout",
        ),
        ("os:nothing", "AttributeError: module 'os' has no attribute 'nothing'"),
        ("os:sep", "os:sep is no click command"),
    ],
)
def test_a_command_that_can_not_be_used_says_so_in_a_line(
    penstock: Penstock, entry_point: Callable[[str], None], value: str, problem: str
) -> None:
    entry_point(value)
    for arguments in ((), ("file.py", "--bind", "x"), ("--help",)):
        result = penstock("extra", *arguments)
        assert (result.exit_code, result.output) == (
            1,
            f"error: 'extra' can't be used: {problem}\n",
        )
    assert "can't be used" in penstock("--help").output


def test_run_does_not_import_the_server_nor_what_only_tail_needs(tmp_path: Path) -> None:
    (tmp_path / "counted.py").write_text(
        "import sys, penstock as ps\n"
        "heavy = {'penstock_server', 'quart', 'hypercorn', 'httpx'} & {*sys.modules}\n"
        "found = ps.from_iterable(sorted(heavy)).to(ps.collect())\n"
    )
    process = started("run", "counted.py", cwd=tmp_path)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "[]\n")
