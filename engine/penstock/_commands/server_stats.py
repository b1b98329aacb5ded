"""What a running server says of itself: its ``/stats``, read by a client of its own."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from penstock.net.failures import detail_of, status_line, system_error
from penstock.net.http import parsed_url
from penstock.net.losses import Refused
from penstock.wire import JSON, Undecodable

from .failure import Failure, error_line
from .headers import headers_of
from .live_graph import LivePipeline, NoStats, pipelines_in

_TIMEOUT = 10
_LIKE = "http://127.0.0.1:8000"
_HINTS = {
    401: "give --token, or set PENSTOCK_TOKEN",
    403: "it takes the right to operate",
    404: f"is it the URL of a penstock server, like {_LIKE}?",
}


class StatsReader:
    """Reads the pipelines of the server at a URL, as often as one likes."""

    def __init__(self, url: str, headers: Sequence[str], token: str | None) -> None:
        try:
            parsed = parsed_url(url, _LIKE)
        except Refused as refused:
            raise Failure(error_line(f"--live {refused}"), exit_code=2) from refused
        path = parsed.path.rstrip("/")
        self._url = parsed.copy_with(path=path if path.endswith("/stats") else f"{path}/stats")
        self._client = httpx.Client(
            headers=headers_of(headers, token), timeout=_TIMEOUT, follow_redirects=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def read(self) -> list[LivePipeline]:
        """The pipelines as they are now. Raises `Failure` where the server can't be asked."""
        try:
            answer = self._client.get(self._url)
        except httpx.HTTPError as error:
            raise Failure(error_line(f"{self._url}: {system_error(error)}")) from error
        if answer.status_code != HTTPStatus.OK:
            hint = _HINTS.get(answer.status_code)
            said = f"{status_line(answer.status_code)}{detail_of(answer.content)}".rstrip(".")
            raise Failure(error_line(f"{self._url}: {said}{f'; {hint}' if hint else ''}"))
        try:
            return pipelines_in(JSON.decode_value(answer.content))
        except (Undecodable, NoStats) as error:
            raise Failure(
                error_line(f"{self._url}: not the /stats of a penstock server")
            ) from error
