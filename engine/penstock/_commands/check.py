"""``penstock check``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from penstock._findings import Finding, Level, findings
from penstock._spec import Node, ancestors
from penstock.config import ConfigError, ConfigFile, load
from penstock.config.blame import display, is_file
from penstock.config.errors import place
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
    line: int | None

    def __str__(self) -> str:
        level = "" if self.level == "error" else f"{self.level}: "
        stage = f"{self.stage}: " if self.stage else ""
        return f"{place(self.file, self.line)}: {level}{stage}{self.problem}"


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
    branches that could wait for each other for ever, two sinks of a pipeline that write the same
    file, a function that no worker process can import.
    Warnings will go wrong in time: memory that grows without a bound, a stream that nothing reads.
    Hints may be meant so: a topic that starts anew at each error, a file that never appears, a
    stream that no pipeline with a name reads.

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
    except ConfigError as error:
        return _Checked(0, 0, [_of_error(error)])
    pipelines = [_end_of(each) for each in config.pipelines.values()]
    built = _built_topics(config)
    found = [each for end in pipelines for each in findings(end)]
    found += [each for end in built.ends for each in findings(end, served=True)]
    lines = [*(_in_place(config, each) for each in found), *map(_of_error, built.errors)]
    # A topic that could not be built might have read any stream that the file speaks of.
    spoken_of = config.names_read() if built.errors else frozenset[str]()
    unread = _unread(config, [*pipelines, *built.ends])
    lines += [line for name, line in unread if name not in spoken_of]
    return _Checked(len(pipelines), built.count, list(dict.fromkeys(lines)))


@dataclass(slots=True)
class _Topics:
    """The topics of a file's servers: how many, those that could be built, and why others not."""

    count: int = 0
    ends: list[Node] = field(default_factory=list[Node])
    errors: list[ConfigError] = field(default_factory=list[ConfigError])


def _built_topics(config: ConfigFile) -> _Topics:
    topics = _Topics()
    for server in config.servers.values():
        try:
            offered = config.topics_of(server)
        except ConfigError as error:
            topics.errors.append(error)
            continue
        topics.count += len(offered)
        for name, build in offered:
            try:
                topics.ends.append(_end_of(config.call(name, build)))
            except ConfigError as error:
                topics.errors.append(error)
    return topics


def _end_of(given: Stream[Any] | Pipeline[Any]) -> Node:
    return given._node  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - hidden from users only


def _unread(config: ConfigFile, ends: Iterable[Node]) -> Iterator[tuple[str, _Line]]:
    """The streams that are a part of no pipeline, no topic and no other stream, by name.

    One that the code ends where it runs it, ``ps.run(words.to(count()))``, is none of them, though
    that pipeline has no name; one that the code uses in some other way may be meant so.
    """
    streams = {name: _end_of(stream) for name, stream in config.streams.items()}
    read = {id(node) for end in ends for node in ancestors(end)}
    read |= {id(node) for end in streams.values() for node in ancestors(end) if node is not end}
    unread = {name: end for name, end in streams.items() if id(end) not in read}
    if not unread:
        return
    spoken_of, ended = config.names_read(), config.names_ended()
    for name, end in unread.items():
        if name not in ended:
            level: Level = "hint" if name in spoken_of else "warning"
            which = "pipeline with a name" if name in spoken_of else "pipeline"
            problem = f"no {which} reads {name}: end it in a sink, .to(collect())"
            yield name, _in_place(config, Finding(level, end.name, problem, end.where))


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
