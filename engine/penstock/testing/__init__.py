"""For tests of pipelines and of stages of one's own, with pytest-trio or with ``trio.run``.

- `probe_source` and `probe_sink`: the two ends of a pipeline, driven by the test
- `check_transform`: whether a transform keeps what the engine promises of every stage
- `Recorder` and `replay`: the input of a stage, recorded live and given again under a mock clock
- `assert_balanced`: whether the counts of a run add up

::

    from penstock import testing

    async def test_it_waits_for_room(autojump_clock: MockClock) -> None:
        numbers, source = testing.probe_source(int)
        end, sink = testing.probe_sink(str)
        async with numbers.map(str).to(end).open():
            await source.send(1)
            assert await sink.take() == ["1"]
            await source.end()

    def test_running_totals_are_a_good_transform() -> None:
        testing.check_transform(totals, given=[1, 2, 3], expected=[1, 3, 6])

It needs no test framework.
"""

from .balance import assert_balanced
from .conformance import check_transform
from .failure import ConformanceError
from .recording import Recorded, Recorder
from .replaying import replay
from .sink import ProbeSink, probe_sink
from .source import ProbeSource, probe_source

__all__ = [
    "ConformanceError",
    "ProbeSink",
    "ProbeSource",
    "Recorded",
    "Recorder",
    "assert_balanced",
    "check_transform",
    "probe_sink",
    "probe_source",
    "replay",
]
