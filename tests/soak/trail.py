"""What a reader is given, checked as it comes: each event in its place, or a gap told first."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.wire import Cursor


@dataclass(frozen=True, slots=True)
class Violation:
    """What must never happen, and did."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Report:
    """All that was counted, and all that went wrong."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.events = 0
        self.gaps = 0
        self.sessions = 0
        self.published = 0
        self.replayed = 0
        self.refused = 0
        self.faults = 0

    def violate(self, where: str, what: str) -> None:
        self.violations.append(Violation(where, what))

    def __str__(self) -> str:
        return (
            f"sessions {self.sessions}  events {self.events:,}  gaps {self.gaps:,}"
            f"  published {self.published:,} (again {self.replayed}, refused {self.refused})"
            f"  faults {self.faults}  violations {len(self.violations)}"
        )


class Ledger:
    """What is at which offset of one topic, as the publishers were told and as readers saw it.

    It knows the newest `kept` offsets, so a soak of hours takes no more memory than a short one.
    """

    def __init__(
        self, topic: str, report: Report, *, unique: bool = True, kept: int = 20_000
    ) -> None:
        self._topic = topic
        self._report = report
        self._unique = unique
        self._kept = kept
        self._values: OrderedDict[int, str] = OrderedDict()
        self._offsets: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def note(self, offset: int, value: object, who: str) -> None:
        """Somebody was told that `value` is at `offset`."""
        text = repr(value)
        known = self._values.get(offset)
        if known is not None:
            if known != text:
                self._violate(who, f"offset {offset} holds {text[:80]}, and held {known[:80]}")
            return
        self._values[offset] = text
        if self._unique and self._offsets.setdefault(text, offset) != offset:
            self._violate(who, f"{text[:80]} is at {offset} and at {self._offsets[text]}")
        while len(self._values) > self._kept:
            old, forgotten = self._values.popitem(last=False)
            if self._offsets.get(forgotten) == old:
                del self._offsets[forgotten]

    def _violate(self, who: str, what: str) -> None:
        self._report.violate(f"{self._topic}, {who}", what)


class Order:
    """Whether numbers come one after another, for each of several names on its own.

    Args:
        read: the name and the number that an event's data says; None for data that says none.
        exact: each is one more than the last one, else it only has to be greater.
    """

    _MOST_NAMES = 500

    def __init__(
        self, read: Callable[[Any], tuple[str, int] | None], *, exact: bool = True
    ) -> None:
        self._read = read
        self._exact = exact
        self._last: OrderedDict[str, int] = OrderedDict()

    def reset(self) -> None:
        """Something was missed: any number may be the next."""
        self._last.clear()

    def problem(self, data: Any) -> str | None:
        """What is wrong with the next one."""
        read = self._read(data)
        if read is None:
            return None
        name, number = read
        last = self._last.pop(name, None)
        self._last[name] = number
        if len(self._last) > self._MOST_NAMES:
            self._last.popitem(last=False)
        if last is None or number == last + 1 or (number > last and not self._exact):
            return None
        return f"{name!r}: {number} after {last}"


class Trail:
    """One reader's way through one topic, over all its sessions and whatever their transport.

    Args:
        topic: its name.
        who: which reader.
        ledger: what others know of the topic; None where nobody does.
        conflated: it asked for the newest only, so that it may miss events without a gap.
        order: which data may follow which.
    """

    def __init__(
        self,
        topic: str,
        who: str,
        report: Report,
        ledger: Ledger | None = None,
        *,
        conflated: bool = False,
        order: Order | None = None,
    ) -> None:
        self.cursor: Cursor | None = None
        self.topic = topic
        self._who = who
        self._report = report
        self._ledger = ledger
        self.conflated = conflated
        self._order = order
        self._recent: deque[str] = deque(maxlen=6)

    @property
    def after(self) -> str:
        """Where to go on, as a client asks for it."""
        return "latest" if self.cursor is None else str(self.cursor)

    def begin(self, cursor: str) -> None:
        """A session starts there. Anywhere but at the end of the last one, a gap must follow."""
        self._recent.append(f"begin {cursor}")
        if self.cursor is None:
            self.cursor = Cursor.parse(cursor)

    def gap(self, message: dict[str, Any]) -> None:
        """The reader was told of a gap."""
        self._recent.append(f"gap {message['requested']} {message['resumed']} {message['missed']}")
        self._report.gaps += 1
        requested, resumed = (Cursor.parse(message[end]) for end in ("requested", "resumed"))
        if self.cursor is not None and requested != self.cursor:
            self.violate(f"a gap after {requested}, but the reader is at {self.cursor}")
        missed = None if requested.epoch != resumed.epoch else resumed.offset - requested.offset
        if message["missed"] != missed or (missed is not None and missed < 1):
            self.violate(f"a gap from {requested} to {resumed} misses {message['missed']}")
        self.cursor = resumed
        if self._order is not None:
            self._order.reset()

    def event(self, id_: str, data: Any) -> None:
        """The reader was given an event."""
        self._recent.append(f"event {id_}")
        self._report.events += 1
        cursor = Cursor.parse(id_)
        before, self.cursor = self.cursor, cursor
        if before is not None:
            step = cursor.offset - before.offset
            if cursor.epoch != before.epoch or step < 1 or (step > 1 and not self.conflated):
                self.violate(f"{cursor} after {before}")
        if self._ledger is not None:
            self._ledger.note(cursor.offset, data, self._who)
        problem = None if self._order is None else self._order.problem(data)
        if problem is not None:
            self.violate(f"at {cursor}: {problem}")

    def violate(self, what: str) -> None:
        self._report.violate(f"{self.topic}, {self._who}", f"{what}; lately {list(self._recent)}")
