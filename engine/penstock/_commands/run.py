"""``penstock run``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import trio

from penstock._stats import RunStats
from penstock.config import ConfigFile, load, parse_target
from penstock.stream import Pipeline

from .attended import Finished, run_attended
from .failure import Failure, error_line, is_unread_output
from .json_output import Write, json_lines
from .outcome import error_lines, progress_json, report_json, result_line, signal_json

if TYPE_CHECKING:
    from .progress import Show


@dataclass(frozen=True, slots=True)
class _Options:
    deadline: float
    watchdog: bool
    quiet: bool


@click.command()
@click.argument("target", metavar="FILE[:NAME]")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long to drain when a signal stops it.",
)
@click.option(
    "--json", "wants_json", is_flag=True, help="Print JSON objects, one a line, and nothing else."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no report; results and errors.")
@click.option(
    "--watchdog/--no-watchdog",
    default=True,
    help="Warn of stages that hold the event loop for over 0.1 s.  [default: on]",
)
def run(target: str, deadline: float, wants_json: bool, quiet: bool, watchdog: bool) -> None:
    """Run the pipelines of a Python file, one after the other.

    Progress and the report go to standard error, the results to standard output: on a terminal a
    table that is drawn anew, elsewhere a line a second. It shows rates, how full the buffers are,
    which stage is the bottleneck, and what was skipped, retried, dropped or set aside.

    With --json standard output has an object each second, of type "progress", and one at the end of
    each pipeline, of type "report"; what the pipelines print goes to standard error.

    Ctrl-C, or SIGTERM, stops the producers and lets what is in flight drain; a second one cancels
    at once. The status is 0 where all is done or was stopped and drained, 1 where something failed,
    and 130 after a second Ctrl-C. The pipelines after one that failed or was stopped are not run.

    \b
    Examples:
      penstock run pipelines.py
      penstock run pipelines.py:errors --deadline 60
      penstock run pipelines.py --json | jq 'select(.type == "report").result'
    """
    options = _Options(deadline, watchdog, quiet)
    with json_lines() if wants_json else nullcontext() as write:
        parsed = parse_target(target)
        config = load(parsed.file)
        chosen = config.pipelines if parsed.name is None else _called(config, parsed.name)
        if not chosen:
            raise Failure(str(config.error(1, "no Pipeline to run", _instead(config))), exit_code=2)
        _run_each(chosen, options, write)


def _called(config: ConfigFile, name: str) -> dict[str, Pipeline[Any]]:
    return {name: config.find(Pipeline, name)}


def _instead(config: ConfigFile) -> str:
    if config.servers:
        return f"it has a server: penstock serve {config.path}"
    for stream in config.streams:
        return f"it has a Stream, {stream}: end it in a sink, .to(collect())"
    return "name one at the top level: counted = ps.read_lines('x.log').to(ps.count())"


def _run_each(chosen: dict[str, Pipeline[Any]], options: _Options, write: Write | None) -> None:
    waiting = list(chosen)
    for name, pipeline in chosen.items():
        waiting.remove(name)
        if write is not None:
            finished = _run_for_machines(name, pipeline, options, write)
        else:
            finished = _run_for_people(name, pipeline, options)
            _print_result(name if len(chosen) > 1 else None, finished)
        not_run = [f"not run: {', '.join(waiting)}"] if waiting else []
        if finished.errors or finished.signals:
            errors = map(error_line, error_lines(finished))
            raise Failure(*errors, *not_run, exit_code=finished.exit_code)


def _run_for_people(name: str, pipeline: Pipeline[Any], options: _Options) -> Finished:
    # Only here: rich takes a while to import, and worker processes import this module, too.
    from .progress import Silent, on_stderr

    def run(show: Show) -> Finished:
        finished = _run(pipeline, options, show.progress, partial(_tell, show, options.deadline))
        if finished.errors and all(map(is_unread_output, finished.errors)):
            raise BrokenPipeError  # as where penstock itself prints: it ends, and says nothing
        if finished.report is not None:
            show.report(finished.report)
        return finished

    if options.quiet:
        return run(Silent())
    with on_stderr(name) as show:
        return run(show)


def _tell(show: Show, deadline: float, number: int, before: int) -> None:
    if before == 0:
        show.stopping(f"stopping, draining for up to {deadline:g} s; once more to cancel")
    elif before == 1:
        show.stopping("cancelled")


def _run_for_machines(
    name: str, pipeline: Pipeline[Any], options: _Options, write: Write
) -> Finished:
    shown = 0.0

    def progress(now: RunStats) -> None:
        nonlocal shown
        if now.outcome == "running" and now.seconds >= shown + 1 and not options.quiet:
            shown = now.seconds
            write(progress_json(name, now))

    def tell(number: int, before: int) -> None:
        write(signal_json(name, number, before, options.deadline))

    finished = _run(pipeline, options, progress, tell)
    write(report_json(name, finished))
    return finished


def _run(
    pipeline: Pipeline[Any],
    options: _Options,
    progress: Callable[[RunStats], object],
    on_signal: Callable[[int, int], object],
) -> Finished:
    return trio.run(
        partial(
            run_attended,
            pipeline,
            deadline=options.deadline,
            watchdog=options.watchdog,
            progress=progress,
            on_signal=on_signal,
        )
    )


def _print_result(label: str | None, finished: Finished) -> None:
    result = result_line(finished)
    if result is not None:
        click.echo(f"{label}: {result}" if label else result)
