"""The headers that the commands send, and the options they are from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from .failure import Failure, error_line

Command = TypeVar("Command", bound=Callable[..., object])


def token_option(about: str, metavar: str = "TOKEN") -> Callable[[Command], Command]:
    """``--token``, also from the environment, as ``token: str | None``."""
    return click.option(
        "--token", metavar=metavar, envvar="PENSTOCK_TOKEN", show_envvar=True, help=about
    )


def header_option(about: str) -> Callable[[Command], Command]:
    """``-H 'NAME: VALUE'``, any number of times, as ``headers: tuple[str, ...]``."""
    return click.option(
        "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help=about
    )


def headers_of(given: Sequence[str], token: str | None) -> dict[str, str]:
    """The headers of ``-H 'NAME: VALUE'`` and ``--token``.

    Raises `Failure` for what is no header. Needs the extra ``net``.
    """
    from penstock.net.options import header_problem

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon:
            raise Failure(error_line(f"--header {line!r}: write it as 'Name: value'"), exit_code=2)
        headers[name] = value.strip()
    for name, value in headers.items():
        problem = header_problem(name, value)
        if problem is not None:
            raise Failure(error_line(f"--header: {problem}"), exit_code=2)
    return headers
