"""What a publisher does about each answer and each failure: decisions only, no I/O.

One request is under way at a time, so order is kept; it is sent again, under the same idempotency
key, until it is answered. Then there are these cases:

- 201: all of it is stored, once; the next batch.
- 413: the batch is halved, and no later one gets as large. A single item is refused.
- 422 with an item's index: nothing was stored. The items before it go again as a batch of their
  own, the others after them; the item itself is refused, once it is the first.
- 408, 425, 429, 5xx: again after a wait. 429, and 503 with ``Retry-After``, say that the server is
  there and has no room: that is backpressure. All other failures mean that it can't be reached.
- 400 from whoever knows no problem documents: the request was cut on its way. A few times.
- anything else is final.

A refused item ends everything (``errors="raise"``) or is left out and counted (``"skip"``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from penstock._backoff import Backoff
from penstock.wire import MSGPACK

from ..failures import detail_of, may_pass, problem_in, status_line, with_detail
from ..losses import Loss, Refused
from ..waiting import wait_for
from .encoding import Encoded
from .queue import Batch, OfflineQueue, Publication
from .report import Acknowledgement, ItemRefused, PublishReport

Errors = Literal["raise", "skip"]

STALLED_AFTER = 5.0
"""Seconds without an answer after which a server counts as one that can't be reached."""

_MOST_MANGLED = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to a request; `retry_after` in seconds, None where it doesn't ask."""

    status: int
    body: bytes
    retry_after: float | None = None
    replayed: bool = False
    location: str = ""

    @property
    def said(self) -> str:
        """The status and, where there is one, the problem, in words."""
        return f"{status_line(self.status)}{detail_of(self.body)}"


class Deliveries:
    """The items of one publisher, from being handed in to being acknowledged.

    Args:
        queue: those that wait.
        most: the most items in a request.
        most_bytes: the most bytes in a request of more than one item.
        errors: what becomes of refused items.
        backoff: the waits between attempts.
        window: seconds for which the server remembers idempotency keys.
        name: what the keys begin with; nobody else's may.
    """

    def __init__(
        self,
        queue: OfflineQueue,
        *,
        most: int,
        most_bytes: int,
        errors: Errors,
        backoff: Backoff,
        window: float,
        name: str,
    ) -> None:
        self.queue = queue
        self._most = self._ceiling = most
        self._most_bytes = most_bytes
        self._errors: Errors = errors
        self._backoff = backoff
        self._window = window
        self._name = name
        self._batch: Batch | None = None
        self._began: float | None = None  # when the attempt under way did
        self._unknown_since: float | None = None  # when the batch was first sent in vain
        self._batches = 0
        self._failures_in_a_row = 0
        self._mangled = 0  # answers in a row that say that a request was
        self._reachable = True
        self._last: str | None = None
        self._sent_up_to = 0  # all items before this one were sent, or are gone
        self._counts: Counter[str] = Counter()

    # Handing in

    def put(self, item: Encoded) -> None:
        """Hand an item in; the oldest ones make room where the queue is full."""
        self.queue.put(Publication(self._counts["taken"], *item))
        self._counts["taken"] += 1

    def skip(self) -> None:
        """An item was handed in that can't be sent, and is left out."""
        self._counts["taken"] += 1
        self._counts["skipped"] += 1

    @property
    def taken(self) -> int:
        """How many items were handed in."""
        return self._counts["taken"]

    @property
    def oldest(self) -> int:
        """The number of the oldest item whose fate is open; `taken` where there is none."""
        if self._batch is not None:
            return self._batch.publications[0].index
        return self.queue.oldest(self.taken)

    def reachable(self, now: float) -> bool:
        """Whether the server is there, as far as is known."""
        stalled = self._began is not None and now - self._began >= STALLED_AFTER
        return self._reachable and not stalled

    def report(self) -> PublishReport:
        """How things stand."""
        under_way = len(self._batch.publications) if self._batch else 0
        return PublishReport(
            **self._counts,
            dropped=self.queue.dropped,
            waiting=len(self.queue) + under_way,
            reachable=self._reachable,
            last=self._last,
        )

    # Attempts

    def next(self, now: float) -> Batch | None:
        """What to send now: the batch that is not acknowledged yet, else a new one, if any."""
        if self._batch is None:
            publications = self.queue.take(self._most, self._most_bytes)
            if not publications:
                return None
            key = publications[0].key or f"{self._name}-{self._batches}"
            self._batches += 1
            self._batch, self._unknown_since = Batch(key, publications), None
        self._began = now
        self._counts["requests"] += 1
        under_way = self._batch.publications
        self._counts["sent"] += sum(each.index >= self._sent_up_to for each in under_way)
        self._sent_up_to = max(self._sent_up_to, under_way[-1].index + 1)
        return self._batch

    def failed(self, problem: str, *, arrived: bool, chance: float) -> Loss:
        """There was no answer; says how long to wait. `arrived`: the request may have."""
        if arrived and self._unknown_since is None:
            self._unknown_since = self._began
        self._reachable = False
        return self._lost(problem, 0.0, chance)

    def answered(self, answer: Answer, now: float, chance: float) -> Acknowledgement | Loss | None:
        """What an answer means: stored, wait, or, for None, go on. Raises `Refused`."""
        status = answer.status
        if status == 400 and self._may_be_mangled(answer):
            problem = "the server got a request that it can't read"
            return self.failed(problem, arrived=True, chance=chance)
        if may_pass(status):
            self._reachable = status == 429 or (status == 503 and answer.retry_after is not None)
            problem = f"the server answered {answer.said}"
            return self._lost(problem, answer.retry_after or 0.0, chance)
        if status == 201:
            return self._acknowledged(answer, now, chance)
        self._took_answer()
        if status == 413:
            self._halve(answer)
        elif status == 422:
            self._leave_out(answer)
        else:
            raise _refused(answer)
        return None

    def _may_be_mangled(self, answer: Answer) -> bool:
        """Whether it can be the connection's fault: a few times, where penstock didn't say 400."""
        self._mangled += 1
        return self._mangled <= _MOST_MANGLED and not problem_in(answer.body)

    def _lost(self, problem: str, retry_after: float, chance: float) -> Loss:
        self._began = None
        delay = wait_for(retry_after, self._backoff, self._failures_in_a_row, chance)
        self._failures_in_a_row += 1
        self._counts["failures"] += 1
        return Loss(problem, self._failures_in_a_row, delay, self._last)

    def _took_answer(self) -> None:
        self._began = None
        self._reachable = True
        self._failures_in_a_row = self._mangled = 0

    def _acknowledged(self, answer: Answer, now: float, chance: float) -> Acknowledgement | Loss:
        assert self._batch is not None, "something was sent"
        count = len(self._batch.publications)
        try:
            stored = msgspec.json.decode(answer.body, type=_Stored)
        except msgspec.MsgspecError:
            return self.failed(
                "the server's answer, 201, does not say what is stored", arrived=True, chance=chance
            )
        if answer.replayed:
            self._counts["replayed"] += count
        elif self._unknown_since is not None and now - self._unknown_since > self._window:
            self._counts["uncertain"] += count
        self._counts["acknowledged"] += count
        self._took_answer()
        self._batch, self._last = None, stored.last
        self._most = min(2 * self._most, self._ceiling)
        return Acknowledgement(count, stored.first, stored.last, answer.replayed)

    # Refusals

    def _halve(self, answer: Answer) -> None:
        publications = self._take_back()
        if len(publications) == 1:
            self._refuse(publications[0], _NOWHERE, answer)
            return
        self._most = self._ceiling = len(publications) // 2
        self.queue.put_back(publications)

    def _leave_out(self, answer: Answer) -> None:
        """The batch has an item that the topic doesn't take; the answer says which, if it can."""
        publications = self._take_back()
        place = _place(answer)
        index = place.index
        if len(publications) == 1:
            self._refuse(publications[0], place, answer)
        elif index is None or index >= len(publications):
            self._most = len(publications) // 2
            self.queue.put_back(publications)
        elif index == 0:
            self.queue.put_back(publications[1:])
            self._refuse(publications[0], place, answer)
            self._most = max(1, self._most // 2)
        else:
            self._most = index  # those before it, which are sound
            self.queue.put_back(publications)

    def _take_back(self) -> Sequence[Publication]:
        assert self._batch is not None, "something was sent"
        publications, self._batch = self._batch.publications, None
        return publications

    def _refuse(self, publication: Publication, place: _Place, answer: Answer) -> None:
        if self._errors == "skip":
            self._counts["skipped"] += 1
            return
        item = MSGPACK.decode_value(publication.body)
        # The answer as a whole names the place, too.
        said = with_detail(answer.status, place.detail) if place.detail else answer.said
        raise ItemRefused(publication.index, item, place.path[:200], said, answer.status)


class _Stored(msgspec.Struct):
    """The answer to a publication that is stored."""

    count: int
    first: str
    last: str


class _Place(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0)] | None
    path: str = "$"
    detail: str = ""


class _Problem(msgspec.Struct):
    """The members of a problem document that say which item is refused."""

    errors: list[_Place]


_NOWHERE = _Place(None)


def _place(answer: Answer) -> _Place:
    """Which item of the batch is refused, and where in it the fault is, as far as it is said."""
    try:
        return msgspec.convert(problem_in(answer.body), _Problem).errors[0]
    except (msgspec.ValidationError, IndexError):
        return _NOWHERE


def _refused(answer: Answer) -> Refused:
    said = answer.said
    if 300 <= answer.status < 400:
        said += f": the topic is elsewhere, {answer.location[:300] or 'not said where'}"
    elif 200 <= answer.status < 300:
        said += ": not a topic of a penstock server, which answers 201"
    return Refused(said, answer.status)
