"""What a publisher decides: queue, batches, answers, refusals, counts. No I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Backoff
from penstock.net import Acknowledgement, ItemRefused, Loss, NotPublishable, Refused
from penstock.net.publishing.encoding import encoded
from penstock.net.publishing.policy import Answer, Deliveries, Errors
from penstock.net.publishing.queue import Batch, OfflineQueue, Publication
from penstock.wire import MSGPACK


def publication(
    index: int, size: int = 10, event: str | None = None, key: str | None = None
) -> Any:
    return Publication(index, b"x" * size, event, key)


def indexes(publications: Any) -> list[int]:
    return [each.index for each in publications]


# The queue


def test_the_queue_drops_its_oldest_by_number() -> None:
    queue = OfflineQueue(3, 1_000)
    for index in range(5):
        assert queue.has_room(10) == (index < 3)
        queue.put(publication(index))
    assert (len(queue), queue.dropped, queue.size) == (3, 2, 30)
    assert indexes(queue.take(10, 1_000)) == [2, 3, 4]
    assert (len(queue), queue.size, queue.oldest(7)) == (0, 0, 7)


def test_the_queue_drops_its_oldest_by_bytes() -> None:
    queue = OfflineQueue(100, 30)
    for index in range(4):
        queue.put(publication(index))
    assert (queue.dropped, queue.oldest(0)) == (1, 1)
    queue.put(publication(4, size=25))
    assert (queue.dropped, queue.size) == (4, 25)
    queue.put(publication(5, size=1_000))  # a single one is always taken
    assert (len(queue), queue.dropped) == (1, 5)


def test_batches_are_bounded_by_number_and_bytes() -> None:
    queue = OfflineQueue(100, 10_000)
    for index in range(8):
        queue.put(publication(index, size=100 if index == 3 else 10))
    assert indexes(queue.take(2, 50)) == [0, 1]
    assert indexes(queue.take(5, 50)) == [2]
    assert indexes(queue.take(5, 50)) == [3]  # too large, but alone
    assert indexes(queue.take(5, 30)) == [4, 5, 6]
    queue.put_back([publication(4), publication(5)])
    assert indexes(queue.take(5, 50)) == [4, 5, 7]
    assert (queue.size, queue.take(5, 50)) == (0, [])


def test_a_batch_has_one_event_name_and_a_key_of_its_own_is_alone() -> None:
    queue = OfflineQueue(100, 10_000)
    names = [None, None, "a", "a", "b", None]
    for index, name in enumerate(names):
        queue.put(publication(index, event=name))
    for index in (6, 7):
        queue.put(publication(index, key=f"k{index}"))
    queue.put(publication(8))
    taken = []
    while batch := queue.take(10, 1_000):
        taken.append(indexes(batch))
    assert taken == [[0, 1], [2, 3], [4], [5], [6], [7], [8]]


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 10), st.integers(1, 200))
def test_the_queue_loses_only_the_oldest(sizes: list[int], most: int, most_bytes: int) -> None:
    queue = OfflineQueue(most, most_bytes)
    for index, size in enumerate(sizes):
        queue.put(publication(index, size))
        assert len(queue) <= most
        assert queue.size <= most_bytes or len(queue) == 1
    left: list[int] = []
    while batch := queue.take(3, 60):
        left += indexes(batch)
    assert left == list(range(queue.dropped, len(sizes)))


# Encoding


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\0", "\t", "a\x7f"])
def test_event_names_go_in_a_header(name: str) -> None:
    with pytest.raises(NotPublishable, match="name"):
        encoded(1, name)


@pytest.mark.parametrize("key", ["", " a", "a ", '"a"', "ä", "a" * 129, "a\n"])
def test_keys_go_in_a_header(key: str) -> None:
    with pytest.raises(NotPublishable, match="key"):
        encoded(1, None, key)


def test_what_can_be_published() -> None:
    assert encoded({"a": 1}, "größe", "a" * 128).event == "größe"
    for data in (object(), float("nan"), 2**70, "\ud800"):
        with pytest.raises(NotPublishable):
            encoded(data)


# Deliveries


def deliveries(
    count: int = 0, *, errors: Errors = "raise", most: int = 4, queue: int = 100
) -> Deliveries:
    made = Deliveries(
        OfflineQueue(queue, 10_000),
        most=most,
        most_bytes=1_000,
        errors=errors,
        backoff=Backoff(initial=1, maximum=8, jitter=False),
        window=300,
        name="me",
    )
    for n in range(count):
        made.put(encoded(n))
    return made


def values(batch: Batch | None) -> list[object]:
    return [] if batch is None else MSGPACK.decode_values(batch.body)


STORED = b'{"count":1,"first":"e-1","last":"e-9","more":1}'
CREATED = Answer(201, STORED)


def problem(index: object, path: str = "$.x") -> bytes:
    return json.dumps(
        {"detail": "no good", "errors": [{"index": index, "path": path, "detail": "bad"}]}
    ).encode()


def answered(it: Deliveries, answer: Answer, now: float = 0.0) -> object:
    return it.answered(answer, now, 1.0)


def test_batches_are_sent_one_after_another_under_new_keys() -> None:
    it = deliveries(6)
    first = it.next(0)
    assert first is not None
    assert (values(first), first.key) == ([0, 1, 2, 3], "me-0")
    assert answered(it, CREATED) == Acknowledgement(4, "e-1", "e-9", replayed=False)
    second = it.next(0)
    assert second is not None
    assert (values(second), second.key) == ([4, 5], "me-1")
    answered(it, Answer(201, STORED, replayed=True))
    assert it.next(0) is None
    report = it.report()
    assert (report.taken, report.sent, report.acknowledged, report.replayed) == (6, 6, 6, 2)
    assert (report.waiting, report.requests, report.last, it.oldest) == (0, 2, "e-9", 6)


def test_a_batch_without_an_answer_is_sent_again_as_it_was() -> None:
    it = deliveries(2, queue=3)
    first = it.next(0)
    loss = it.failed("cut", arrived=True, chance=1)
    assert loss == Loss("cut", 1, 1, None)
    assert not it.reachable(0)
    for n in range(2, 7):
        it.put(encoded(n))  # a flood: what is under way is not part of the queue
    assert it.next(0) is first
    assert it.failed("cut", arrived=True, chance=1).delay == 2
    it.next(0)
    answered(it, CREATED)
    assert it.reachable(0)
    assert values(it.next(0)) == [4, 5, 6]
    report = it.report()
    assert (report.dropped, report.acknowledged, report.failures, report.waiting) == (2, 2, 2, 3)


def test_a_server_that_does_not_answer_counts_as_away_after_a_while() -> None:
    it = deliveries(1)
    it.next(100)
    assert it.reachable(104.9)
    assert not it.reachable(105)
    answered(it, CREATED)
    assert it.reachable(1_000)


@pytest.mark.parametrize(
    ("answer", "delay", "reachable"),
    [
        (Answer(429, b"", 5), 5, True),
        (Answer(429, b""), 1, True),
        (Answer(503, b"", 5), 5, True),
        (Answer(503, b""), 1, False),
        (Answer(502, b"", 1e9), 3600, False),
        (Answer(500, b"\xff"), 1, False),
        (Answer(408, b""), 1, False),
        (Answer(201, b"<html>"), 1, False),
        (Answer(201, b'{"count": "x"}'), 1, False),
    ],
)
def test_answers_that_ask_to_wait(answer: Answer, delay: float, reachable: bool) -> None:
    it = deliveries(1)
    first = it.next(0)
    loss = answered(it, answer)
    assert isinstance(loss, Loss)
    assert loss.delay == delay
    assert it.reachable(0) == reachable
    assert it.next(0) is first


@pytest.mark.parametrize("status", [200, 204, 301, 401, 403, 404, 405, 415, 418])
def test_answers_that_are_final(status: int) -> None:
    it = deliveries(1)
    it.next(0)
    body = b'{"title":"No","detail":"Never."}'
    with pytest.raises(Refused, match=r"Never\.") as caught:
        answered(it, Answer(status, body, location="/else"))
    assert caught.value.status == status
    assert ("/else" in str(caught.value)) == (status == 301)


def test_a_mangled_request_is_sent_again_a_few_times() -> None:
    it = deliveries(1)
    for _ in range(5):
        it.next(0)
        assert isinstance(answered(it, Answer(400, b"Bad Request")), Loss)
    it.next(0)
    with pytest.raises(Refused):
        answered(it, Answer(400, b"Bad Request"))
    it = deliveries(1)
    it.next(0)
    with pytest.raises(Refused, match="can't be read"):
        answered(it, Answer(400, b'{"detail":"The body can\'t be read."}'))


def test_too_much_at_once_is_halved_and_stays_so() -> None:
    it = deliveries(9)
    sent = []
    while batch := it.next(0):
        sent.append(len(batch.publications))
        answered(it, Answer(413, b"") if len(batch.publications) > 2 else CREATED)
    assert sent == [4, 2, 2, 2, 2, 1]
    assert it.report().acknowledged == 9


def test_an_item_that_is_too_large_is_named() -> None:
    it = deliveries(2, most=1)
    it.next(0)
    answered(it, CREATED)
    it.next(0)
    with pytest.raises(ItemRefused) as caught:
        answered(it, Answer(413, b'{"detail":"over 5 bytes"}'))
    assert (caught.value.index, caught.value.item) == (1, 1)
    assert str(caught.value) == "item 1 (1) at $: 413 Content Too Large: over 5 bytes".replace(
        "Content", _phrase()
    )


def _phrase() -> str:
    from http import HTTPStatus

    return HTTPStatus(413).phrase.removesuffix(" Too Large")


def run(it: Deliveries, bad: set[int]) -> list[object]:
    """What a topic stores that refuses those."""
    log: list[object] = []
    while batch := it.next(0):
        sent = values(batch)
        at = next((n for n, value in enumerate(sent) if value in bad), None)
        if at is None:
            log += sent
            answered(it, CREATED)
        else:
            answered(it, Answer(422, problem(at)))
    return log


def test_items_before_a_refused_one_are_stored() -> None:
    it = deliveries(6)
    log: list[object] = []
    with pytest.raises(ItemRefused) as caught:
        while batch := it.next(0):
            sent = values(batch)
            if 2 in sent:
                answered(it, Answer(422, problem(sent.index(2))))
            else:
                log += sent
                answered(it, CREATED)
    assert log == [0, 1]
    refused = caught.value
    assert (refused.index, refused.item, refused.path, refused.status) == (2, 2, "$.x", 422)
    assert str(refused) == "item 2 (2) at $.x: 422 Unprocessable Entity: bad"


@given(st.integers(0, 40), st.sets(st.integers(0, 39)), st.integers(1, 50))
def test_refused_items_are_skipped_and_no_other(count: int, bad: set[int], most: int) -> None:
    it = deliveries(count, errors="skip", most=most)
    assert run(it, bad) == [n for n in range(count) if n not in bad]
    report = it.report()
    assert report.skipped == len(bad & set(range(count)))
    assert report.acknowledged + report.skipped == report.taken == report.sent == count
    assert report.requests <= 4 * count + 2


@pytest.mark.parametrize(
    "body", [b"", b"{}", problem(99), problem("x"), problem(-1), b'{"errors":5}']
)
def test_a_refusal_that_names_no_item_is_narrowed_down(body: bytes) -> None:
    it = deliveries(5, errors="skip")
    log: list[object] = []
    while batch := it.next(0):
        if 3 in values(batch):
            answered(it, Answer(422, body))
        else:
            log += values(batch)
            answered(it, CREATED)
    assert log == [0, 1, 2, 4]


def test_what_may_be_stored_twice_is_counted() -> None:
    it = deliveries(4, most=1)
    it.next(0)
    it.failed("refused", arrived=False, chance=0)  # nothing got there, so nothing is uncertain
    it.next(1_000)
    answered(it, CREATED, 1_000)
    assert it.report().uncertain == 0
    it.next(1_000)
    it.failed("cut", arrived=True, chance=0)
    it.next(1_299)
    answered(it, CREATED, 1_299)  # the server would have remembered
    assert it.report().uncertain == 0
    it.next(1_300)
    it.failed("cut", arrived=True, chance=0)
    it.next(1_500)
    it.failed("cut", arrived=True, chance=0)
    it.next(1_601)
    answered(it, CREATED, 1_601)
    assert it.report().uncertain == 1
    it.next(2_000)
    it.failed("cut", arrived=True, chance=0)
    it.next(2_900)
    answered(it, Answer(201, STORED, replayed=True), 2_900)  # it did remember
    assert it.report().uncertain == 1


def test_skipped_ones_count_in_the_numbers_of_items() -> None:
    it = deliveries(1)
    it.skip()
    it.put(encoded("bad"))
    run(it, set())
    assert (it.report().taken, it.report().skipped, it.report().acknowledged) == (3, 1, 2)
