"""``penstock graph``."""

from __future__ import annotations

import time
from functools import partial

import click

from penstock._graph import Graph
from penstock._install_hint import install_hint
from penstock.config import Builder, ConfigFile, load, parse_target
from penstock.stream import Pipeline, Stream

from .failure import Failure, error_line
from .headers import header_option, token_option

_BETWEEN = 1.0
"""Seconds between the two looks at a server that its rates are counted from."""

_REMARK = {"mermaid": "%% ", "dot": "// ", "text": ""}


@click.command(short_help="Draw the pipelines and topics of a Python file, or of a server.")
@click.argument("target", metavar="FILE[:NAME]", required=False)
@click.option(
    "--format",
    "notation",
    type=click.Choice(["mermaid", "dot", "text"]),
    default="mermaid",
    show_default=True,
    help="What to draw in.",
)
@click.option(
    "--live", "url", metavar="URL", help="Draw what runs on the server at URL, with its figures."
)
@token_option("Who is asking; with --live.")
@header_option("A header of the requests; with --live.")
def graph(
    target: str | None,
    notation: str,
    url: str | None,
    token: str | None,
    headers: tuple[str, ...],
) -> None:
    """Draw the pipelines and topics of a Python file, or the one called NAME.

    Boxes are tasks, with the stages that are fused in each; arrows between them are channels,
    with the number of items they hold. Nothing is run.

    With --live the pipelines are those of a running server: it is asked twice, a second apart, for
    its /stats, and each stage is drawn with its items a second, each channel with the items in it,
    and the bottleneck is marked. The file is not needed then: FILE:NAME, or the NAME alone, chooses
    one topic.

    \b
    Examples:
      penstock graph pipelines.py --format text
      penstock graph pipelines.py:errors --format dot | dot -Tsvg > errors.svg
      penstock graph --live http://127.0.0.1:8000 --format text
    """
    if url is not None:
        drawn = _live(url, target, notation, headers, token)
    elif target is None:
        raise click.UsageError("Missing argument 'FILE[:NAME]', or --live URL.")
    else:
        drawn = _of_file(target, notation)
    click.echo("\n".join(drawn), nl=False)


def _of_file(target: str, notation: str) -> list[str]:
    parsed = parse_target(target)
    config = load(parsed.file)
    chosen = config.builders() if parsed.name is None else _called(config, parsed.name)
    if not chosen:
        raise Failure(str(config.error(1, "no pipelines and no topics to draw")), exit_code=2)
    return [_draw(config.build(name, build).graph(), notation, name) for name, build in chosen]


def _called(config: ConfigFile, name: str) -> list[tuple[str, Builder]]:
    """The topic, pipeline or stream of that name."""
    topics = [each for each in config.topics() if each[0] == name]
    if topics or name not in config.streams:
        return topics or [(name, partial(config.find, Pipeline, name))]
    return [(name, partial(config.find, Stream, name))]


def _live(
    url: str, target: str | None, notation: str, headers: tuple[str, ...], token: str | None
) -> list[str]:
    from .live_graph import as_graph  # it needs rich, for the notes

    try:
        from .server_stats import StatsReader  # httpx is an extra, and slow to import
    except ImportError as error:
        raise Failure(error_line(f"--live needs more: {install_hint(error)}")) from error
    with StatsReader(url, headers, token) as reader:
        before = {each.topic: each.stats for each in reader.read()}
        time.sleep(_BETWEEN)
        pipelines = reader.read()
    wanted = _topic_in(target)
    chosen = [each for each in pipelines if wanted is None or each.topic == wanted]
    if not chosen:
        there = ", ".join(each.topic for each in pipelines)
        missing = "no topic has a pipeline" if wanted is None else f"no pipeline of {wanted}"
        raise Failure(error_line(f"{url}: {missing}" + (f"; it has {there}" if there else "")))
    return [
        _note(f"{each.topic} ({each.state}): it has not run yet", notation)
        if each.stats is None
        else _draw(
            as_graph(each.stats, before.get(each.topic)), notation, f"{each.topic} ({each.state})"
        )
        for each in chosen
    ]


def _topic_in(target: str | None) -> str | None:
    """The topic that ``FILE``, ``FILE:NAME`` or ``NAME`` stands for; None for all."""
    if target is None:
        return None
    parsed = parse_target(target)
    if parsed.name is not None:
        return parsed.name
    return None if target.endswith(".py") else target


def _draw(graph: Graph, notation: str, title: str) -> str:
    match notation:
        case "dot":
            return graph.dot(title)
        case "text":
            return graph.text(title)
        case _:
            return graph.mermaid(title)


def _note(text: str, notation: str) -> str:
    """A remark where there is nothing to draw."""
    return f"{_REMARK[notation]}{text}\n"
