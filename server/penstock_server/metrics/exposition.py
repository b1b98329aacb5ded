"""From the hub to the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..hub import Hub
from .delivery import delivery_families
from .jobs import job_families
from .pipelines import pipeline_families
from .process import process_families
from .topics import topic_families

# Rendering takes about a tenth of a millisecond for each ten samples.
_ASIDE_FROM = 1000


class _Snapshot(Collector):
    """Families that were read already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        return self._families


class Metrics:
    """The metrics of one server."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def families(self) -> list[Metric]:
        """Every metric as it stands now. Labels are bounded by what the application declares: a
        template stands for all of its topics.
        """
        hub = self._hub
        return [
            *process_families(hub),
            *delivery_families(hub),
            *topic_families(hub),
            *pipeline_families(hub),
            *job_families(hub),
        ]

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type: Prometheus's text, or OpenMetrics where `accept`
        (the request's header) asks for it. A checkpoint.

        A large text is put together in a thread, so that a scrape doesn't hold up the streams.
        """
        families = self.families()
        encode, content_type = choose_encoder(accept)
        # A registry of its own: the library's common one belongs to the application.
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(families))
        text = await _render(lambda: encode(registry), sum(len(each.samples) for each in families))
        return text, content_type


async def _render(encode: Callable[[], bytes], samples: int) -> bytes:
    if samples >= _ASIDE_FROM:
        return await trio.to_thread.run_sync(encode)
    await trio.lowlevel.checkpoint()
    return encode()
