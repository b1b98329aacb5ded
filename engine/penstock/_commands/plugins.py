"""The group of commands: penstock's own, and those that installed packages add.

A package adds a click command by an entry point of the group ``penstock.commands``. It is imported
when it is called or shown in the help, so ``penstock run`` doesn't pay for a server.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from penstock._errors import describe, flatten
from penstock._install_hint import install_hint
from penstock.config import ConfigError

from .failure import Failure, error_line, unexpected

ENTRY_POINTS = "penstock.commands"


class CommandLine(click.Group):
    """Commands that end in a line and an exit status, whatever happens, never in a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands: penstock's own in their order, then the others."""
        added = sorted(point.name for point in entry_points(group=ENTRY_POINTS))
        return [*self.commands, *(name for name in added if name not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; one that can't be imported says so when it is called."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        for point in entry_points(group=ENTRY_POINTS, name=cmd_name):
            return _load(point)
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see the class."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            _discard_output()
            exit_code = 0
        except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 - shown
            failure = _as_failure(error)
            for line in failure.lines:
                click.echo(line, err=True)
            exit_code = failure.exit_code
        raise click.exceptions.Exit(exit_code)


def _load(point: EntryPoint) -> click.Command:
    try:
        command: object = point.load()
    except ImportError as error:
        hint = install_hint(error)
        return _broken(point, f"it needs more: {hint}" if hint else describe(error))
    except Exception as error:  # noqa: BLE001 - another package's code, shown to the user
        return _broken(point, describe(error))
    if not isinstance(command, click.Command):
        return _broken(point, f"{point.value} is no click command")
    return command


def _broken(point: EntryPoint, problem: str) -> click.Command:
    """A command that takes any arguments and only says why it can't be used."""

    def say() -> None:
        raise Failure(error_line(f"'{point.name}' can't be used: {problem}"))

    return click.Command(
        point.name,
        callback=say,
        short_help=f"(can't be used: {problem})",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        add_help_option=False,
    )


def _as_failure(error: BaseException) -> Failure:
    # Nurseries wrap Ctrl-C in groups on its way.
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in flatten(error)):
        return Failure(exit_code=128 + signal.SIGINT)
    match error:
        case Failure():
            return error
        case ConfigError():
            return Failure(str(error))
        case _ if os.environ.get("PENSTOCK_TRACEBACK"):
            raise error
        case _:
            return unexpected(error)


def _discard_output() -> None:
    """Nobody reads any more: what is still buffered must not fail when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
