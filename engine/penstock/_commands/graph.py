"""``penstock graph``."""

from __future__ import annotations

from functools import partial

import click

from penstock._graph import Graph
from penstock.config import Builder, ConfigFile, load, parse_target
from penstock.stream import Pipeline, Stream

from .failure import Failure


@click.command(short_help="Draw the pipelines and topics of a Python file.")
@click.argument("target", metavar="FILE[:NAME]")
@click.option(
    "--format",
    "notation",
    type=click.Choice(["mermaid", "dot", "text"]),
    default="mermaid",
    show_default=True,
    help="What to draw in.",
)
def graph(target: str, notation: str) -> None:
    """Draw the pipelines and topics of a Python file, or the one called NAME.

    Boxes are tasks, with the stages that are fused in each; arrows between them are channels,
    with the number of items they hold. Nothing is run.

    \b
    Examples:
      penstock graph pipelines.py --format text
      penstock graph pipelines.py:errors --format dot | dot -Tsvg > errors.svg
    """
    parsed = parse_target(target)
    config = load(parsed.file)
    chosen = config.builders() if parsed.name is None else _called(config, parsed.name)
    if not chosen:
        raise Failure(str(config.error(1, "no pipelines and no topics to draw")), exit_code=2)
    drawn = [_draw(config.build(name, build).graph(), notation, name) for name, build in chosen]
    click.echo("\n".join(drawn), nl=False)


def _called(config: ConfigFile, name: str) -> list[tuple[str, Builder]]:
    """The topic, pipeline or stream of that name."""
    topics = [each for each in config.topics() if each[0] == name]
    if topics or name not in config.streams:
        return topics or [(name, partial(config.find, Pipeline, name))]
    return [(name, partial(config.find, Stream, name))]


def _draw(graph: Graph, notation: str, title: str) -> str:
    match notation:
        case "dot":
            return graph.dot(title)
        case "text":
            return graph.text(title)
        case _:
            return graph.mermaid(title)
