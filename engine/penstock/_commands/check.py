"""``penstock check``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from penstock._findings import Finding, Level, findings
from penstock._spec import Node, ancestors
from penstock.config import ConfigError, ConfigFile, load
from penstock.config.blame import display, is_file
from penstock.stream import Pipeline, Stream

from .failure import Failure
from .json_output import Write, json_lines


@dataclass(frozen=True, slots=True)
class _Line:
    """A finding in a place of a file. ``stage`` is empty where the file is to blame."""

    level: Level
    stage: str
    problem: str
    file: str
    line: int

    def __str__(self) -> str:
        level = "" if self.level == "error" else f"{self.level}: "
        stage = f"{self.stage}: " if self.stage else ""
        return f"{self.file}:{self.line}: {level}{stage}{self.problem}"


@dataclass(frozen=True, slots=True)
class _Checked:
    pipelines: int
    topics: int
    lines: list[_Line]

    def count(self, level: Level) -> int:
        return sum(line.level == level for line in self.lines)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--strict", is_flag=True, help="Warnings are errors, too.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON objects, one a line.")
def check(file: str, strict: bool, wants_json: bool) -> None:
    """Check a Python file without running its pipelines.

    Loads the file, builds every pipeline and every topic of its servers, and says what is wrong
    with them, FILE:LINE: PROBLEM. Errors can't be run: a wrong option, a branch that goes nowhere,
    branches that could wait for each other for ever, a function that no worker process can import.
    Warnings will go wrong in time: memory that grows without a bound, a stream that nothing reads.
    Hints may be meant so: a topic that starts anew at each error, a file that never appears.

    The status is 1 where there are errors, with --strict also where there are warnings. With --json
    there is an object of type "finding" for each, and one of type "summary" at the end.

    \b
    Examples:
      penstock check pipelines.py
      penstock check examples/machine.py && penstock serve examples/machine.py
    """
    with json_lines() if wants_json else nullcontext() as write:
        checked = _checked(file)
    errors = [line for line in checked.lines if line.level == "error"]
    if write is not None:
        _write_all(write, file, checked)
    else:
        for line in checked.lines:
            if line.level != "error":
                click.echo(line)
        if errors:
            raise Failure(*map(str, errors))
        click.echo(_summary(file, checked))
    if errors or (strict and checked.count("warning")):
        raise Failure(exit_code=1)


def _checked(file: str) -> _Checked:
    """What there is in a file, and to say about it."""
    try:
        config = load(file)
        builders = config.builders()
    except ConfigError as error:
        return _Checked(0, 0, [_of_error(error)])
    ends: list[Node] = []
    lines: list[_Line] = []
    pipelines = len(config.pipelines)
    for number, (name, build) in enumerate(builders):
        try:
            end = _end_of(config.build(name, build))
        except ConfigError as error:
            lines.append(_of_error(error))
        else:
            ends.append(end)
            found = findings(end, served=number >= pipelines)
            lines += [_in_place(config, each) for each in found]
    if len(ends) == len(builders):
        lines += _unread(config, ends)
    return _Checked(pipelines, len(builders) - pipelines, list(dict.fromkeys(lines)))


def _end_of(given: Stream[Any] | Pipeline[Any]) -> Node:
    return given._node  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - hidden from users only


def _unread(config: ConfigFile, ends: Iterable[Node]) -> Iterator[_Line]:
    """The streams that are a part of no pipeline, no topic and no other stream."""
    streams = {name: _end_of(stream) for name, stream in config.streams.items()}
    read = {id(node) for end in ends for node in ancestors(end)}
    read |= {id(node) for end in streams.values() for node in ancestors(end) if node is not end}
    for name, end in streams.items():
        if id(end) not in read:
            problem = f"no pipeline reads {name}: end it in a sink, .to(collect())"
            yield _in_place(config, Finding("warning", end.name, problem, end.where))


def _of_error(error: ConfigError) -> _Line:
    hint = f"; {error.hint}" if error.hint else ""
    return _Line("error", "", f"{error.problem}{hint}", error.file, error.line)


def _in_place(config: ConfigFile, finding: Finding) -> _Line:
    file, line = str(config.path), 1
    if finding.where is not None:
        line = finding.where.line
        if not is_file(finding.where.file, Path(str(config.module.__file__))):
            file = display(Path(finding.where.file))
    return _Line(finding.level, finding.stage, finding.problem, file, line)


def _summary(file: str, checked: _Checked) -> str:
    parts = [
        _count(checked.pipelines, "pipeline"),
        _count(checked.topics, "topic"),
        "no errors",
        *(
            _count(number, level)
            for level, number in (
                ("warning", checked.count("warning")),
                ("hint", checked.count("hint")),
            )
            if number
        ),
    ]
    return f"{file}: {', '.join(parts)}"


def _write_all(write: Write, file: str, checked: _Checked) -> None:
    for line in checked.lines:
        write(
            {
                "type": "finding",
                "level": line.level,
                "stage": line.stage or None,
                "problem": line.problem,
                "file": line.file,
                "line": line.line,
            }
        )
    write(
        {
            "type": "summary",
            "file": file,
            "pipelines": checked.pipelines,
            "topics": checked.topics,
            "errors": checked.count("error"),
            "warnings": checked.count("warning"),
            "hints": checked.count("hint"),
        }
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
