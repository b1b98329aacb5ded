"""``penstock run``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click
import trio

from penstock.config import ConfigFile, load, parse_target
from penstock.stream import Pipeline

from .attended import Finished, run_attended
from .failure import Failure, error_line
from .outcome import as_json, error_lines, result_line


@click.command()
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--json", "wants_json", is_flag=True, help="Print a JSON object for each pipeline.")
def run(target: str, wants_json: bool) -> None:
    """Run the pipelines of a Python file, one after the other.

    Progress and the report go to standard error, the results to standard output. A pipeline that
    fails ends the command with status 1, and those after it are not run.

    Ctrl-C stops the producers and lets what is in flight drain, for up to 10 seconds; a second
    Ctrl-C cancels at once. The status is then 130.

    \b
    Examples:
      penstock run pipelines.py
      penstock run pipelines.py:errors
      penstock run pipelines.py --json | jq .result
    """
    parsed = parse_target(target)
    config = load(parsed.file)
    chosen = config.pipelines if parsed.name is None else _called(config, parsed.name)
    if not chosen:
        raise Failure(str(config.error(1, "no Pipeline to run", _instead(config))), exit_code=2)
    _run_each(chosen, wants_json)


def _called(config: ConfigFile, name: str) -> dict[str, Pipeline[Any]]:
    return {name: config.find(Pipeline, name)}


def _instead(config: ConfigFile) -> str:
    if config.servers:
        return f"it has a server: penstock serve {config.path}"
    for stream in config.streams:
        return f"it has a Stream, {stream}: end it in a sink, .to(collect())"
    return "name one at the top level: counted = ps.read_lines('x.log').to(ps.count())"


def _run_each(chosen: dict[str, Pipeline[Any]], wants_json: bool) -> None:
    waiting = list(chosen)
    for name, pipeline in chosen.items():
        waiting.remove(name)
        finished = _run_one(name, pipeline, wants_json)
        _print_outcome(name if len(chosen) > 1 else None, name, finished, wants_json)
        not_run = [f"not run: {', '.join(waiting)}"] if waiting else []
        if finished.signal is not None:
            raise Failure(*not_run, exit_code=128 + finished.signal)
        if finished.errors:
            raise Failure(*map(error_line, error_lines(finished)), *not_run)


def _run_one(name: str, pipeline: Pipeline[Any], wants_json: bool) -> Finished:
    # Only here: rich takes a while to import, and worker processes import this module, too.
    from .progress import progress_on_stderr, show_report

    with progress_on_stderr(name) as show:
        finished = trio.run(run_attended, pipeline, show, partial(click.echo, err=True))
    if finished.report is not None and not wants_json:
        show_report(name, finished.report)
    return finished


def _print_outcome(label: str | None, name: str, finished: Finished, wants_json: bool) -> None:
    if wants_json:
        click.echo(as_json(name, finished))
        return
    result = result_line(finished)
    if result is not None:
        click.echo(f"{label}: {result}" if label else result)
