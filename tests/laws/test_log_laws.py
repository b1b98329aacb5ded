"""Laws of logs: whatever is appended, trimmed and read, a log does what a plain list would do.

`log_laws` makes the laws for any implementation of `Log`; give it what makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.wire import Cursor
from penstock_server.log import (
    Bounds,
    EncodedEvent,
    Log,
    MemoryLog,
    StoredEvent,
    Trimmed,
    gap_to_oldest,
    resolve,
)
from penstock_server.settings import Retention

MakeLog: TypeAlias = Callable[[Retention, Callable[[], float]], Log]

retentions = st.builds(
    Retention,
    events=st.integers(1, 12),
    bytes=st.integers(1, 60),
    seconds=st.none() | st.integers(1, 5),
)
events = st.builds(
    EncodedEvent,
    json=st.binary(max_size=12),
    packed=st.binary(max_size=6),
    name=st.none() | st.sampled_from(["tick", "größe"]),
)


class Follower:
    """A reader, and the promise that it is kept: everything once and in order, or one gap."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.began = after
        self.got = 0
        self.missed = 0

    def settle(self) -> None:
        """Nothing between its start and its position may be unaccounted for."""
        assert self.after - self.began == self.got + self.missed


def log_laws(make_log: MakeLog) -> type[RuleBasedStateMachine]:
    """The laws for the logs that `make_log` makes of a retention and a clock."""

    class LogLaws(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.now = 0.0
            self.history: list[EncodedEvent] = []
            self.times: list[float] = []
            self.first = 1
            self.ended = False
            self.watched = self.woken = 0
            self.stop_watching: Callable[[], None] | None = None
            self.followers: list[Follower] = []
            self.log: Log | None = None

        # What is done with a log

        @precondition(lambda self: self.log is None)
        @rule(retention=retentions)
        def make(self, retention: Retention) -> None:
            self.retention = retention
            self.log = make_log(retention, lambda: self.now)

        @precondition(lambda self: self.log is not None)
        @rule(some=st.lists(events, max_size=20))
        def append(self, some: list[EncodedEvent]) -> None:
            assert self.log is not None
            if self.ended:
                self.refuse(some)
                return
            self.history += some
            self.times += [self.now] * len(some)
            self.trim_appended()
            assert self.log.append(some) == len(self.history)
            self.watched += bool(some) and self.stop_watching is not None

        def refuse(self, some: list[EncodedEvent]) -> None:
            assert self.log is not None
            try:
                self.log.append(some)
            except ValueError:
                return
            raise AssertionError("a log that has ended took an event")

        @precondition(lambda self: self.log is not None)
        @rule(seconds=st.integers(0, 4))
        def wait(self, seconds: int) -> None:
            self.now += seconds

        @precondition(lambda self: self.log is not None and not self.ended)
        @rule(often=st.integers(0, 9))
        def finish(self, often: int) -> None:
            assert self.log is not None
            if often == 0:  # seldom, or most runs would end early
                self.log.finish()
                self.ended = True
                self.watched += self.stop_watching is not None

        @precondition(lambda self: self.log is not None)
        @rule()
        def watch_or_stop(self) -> None:
            assert self.log is not None
            if self.stop_watching is None:
                self.stop_watching = self.log.watch(self.wake)
            else:
                self.stop_watching()
                self.stop_watching = None

        def wake(self) -> None:
            self.woken += 1

        # Reading

        @precondition(lambda self: self.log is not None)
        @rule(after=st.integers(0, 60), limit=st.integers(1, 30))
        def read(self, after: int, limit: int) -> None:
            assert self.log is not None
            self.trim_old()
            assert self.log.read(after, limit) == self.expected(after, limit)

        @precondition(lambda self: self.log is not None and len(self.followers) < 4)
        @rule(asked=st.sampled_from(["earliest", "latest"]) | st.integers(0, 60))
        def start_following(self, asked: str | int) -> None:
            assert self.log is not None
            position = Cursor(self.log.epoch, asked) if isinstance(asked, int) else asked
            start = resolve(position, "t", self.log.epoch, self.log.bounds())  # type: ignore[arg-type]  # the two literals
            if isinstance(asked, int) and asked <= len(self.history):
                assert (start.gap is None) == (asked >= self.first - 1)
                assert start.gap is None or start.gap.missed == self.first - 1 - asked
            self.followers.append(Follower(start.after))

        @precondition(lambda self: self.followers)
        @rule(data=st.data(), limit=st.integers(1, 10))
        def follow(self, data: st.DataObject, limit: int) -> None:
            self.advance(data.draw(st.sampled_from(self.followers)), limit)

        def advance(self, follower: Follower, limit: int) -> None:
            assert self.log is not None
            self.trim_old()
            read = self.log.read(follower.after, limit)
            assert read == self.expected(follower.after, limit)
            if isinstance(read, Trimmed):
                start = gap_to_oldest(follower.after, "t", self.log.epoch, self.log.bounds())
                assert start.gap is not None
                missed = start.after - follower.after
                assert start.gap.missed == missed > 0
                follower.missed += missed
                follower.after = start.after
                assert not isinstance(self.log.read(start.after, 1), Trimmed), "told only once"
            elif read:
                follower.got += len(read)
                follower.after = read[-1].offset
            follower.settle()

        # What must hold

        def expected(self, after: int, limit: int) -> list[StoredEvent] | Trimmed:
            if after < self.first - 1:
                return Trimmed(self.first)
            return [
                StoredEvent(after + number, event.json, event.packed, event.name)
                for number, event in enumerate(self.history[after : after + limit], 1)
            ]

        @precondition(lambda self: self.log is not None)
        @invariant()
        def bounds_are_those_of_the_model(self) -> None:
            assert self.log is not None
            self.trim_old()
            size = sum(event.size for event in self.history[self.first - 1 :])
            assert self.log.bounds() == Bounds(self.first, len(self.history), size, self.ended)

        @invariant()
        def watchers_are_woken_once_for_each_append(self) -> None:
            assert self.woken == self.watched

        def teardown(self) -> None:
            for follower in self.followers:
                while follower.after < len(self.history):
                    self.advance(follower, 7)
            if self.stop_watching is not None:
                self.stop_watching()

        # The model

        def trim_appended(self) -> None:
            last = len(self.history)
            self.first = max(self.first, last - self.retention.events + 1)
            while (
                self.first < last
                and sum(event.size for event in self.history[self.first - 1 :])
                > self.retention.bytes
            ):
                self.first += 1
            self.trim_old()

        def trim_old(self) -> None:
            seconds = self.retention.seconds
            while (
                seconds is not None
                and self.first <= len(self.history)
                and self.times[self.first - 1] < self.now - seconds
            ):
                self.first += 1

    LogLaws.TestCase.settings = settings(
        max_examples=40, stateful_step_count=30, deadline=None, database=None
    )
    return LogLaws


TestMemoryLog = log_laws(MemoryLog).TestCase
