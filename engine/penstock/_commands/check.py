"""``penstock check``."""

from __future__ import annotations

import click

from penstock.config import Builder, ConfigError, ConfigFile, load

from .failure import Failure


@click.command()
@click.argument("file", metavar="FILE")
def check(file: str) -> None:
    """Check a Python file without running its pipelines.

    Loads the file and builds every pipeline and every topic of its servers. Each error is one
    line, FILE:LINE: PROBLEM, and the status is 1.

    \b
    Examples:
      penstock check pipelines.py
      penstock check examples/machine.py && penstock serve examples/machine.py
    """
    config = load(file)
    pipelines = len(config.pipelines)
    builders = config.builders()
    errors = [error for name, build in builders if (error := _error_of(config, name, build))]
    if errors:
        raise Failure(*map(str, errors))
    topics = len(builders) - pipelines
    click.echo(f"{file}: {_count(pipelines, 'pipeline')}, {_count(topics, 'topic')}, no errors")


def _error_of(config: ConfigFile, name: str, build: Builder) -> ConfigError | None:
    try:
        config.build(name, build)
    except ConfigError as error:
        return error
    return None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
