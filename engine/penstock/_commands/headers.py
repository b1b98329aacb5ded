"""The headers that the commands send, from their options."""

from __future__ import annotations

from collections.abc import Sequence

from .failure import Failure, error_line

TOKEN_VARIABLE = "PENSTOCK_TOKEN"  # noqa: S105 - its name


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
