"""Idempotency keys: once stored is stored once, whatever happens meanwhile."""

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock_server.idempotency import (
    MAX_KEY_BYTES,
    IdempotencyKeys,
    Stored,
    check_key,
    fingerprint_of,
)
from penstock_server.log import EncodedEvent
from penstock_server.refusals import BadIdempotencyKey, KeyReused, NoRoom

BODY, OTHER = b"body", b"other"


class Store:
    """What is stored, and what it took; each call waits for `go`, and may fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.go = trio.Event()
        self.failures: dict[int, Exception] = {}

    async def __call__(self) -> Stored:
        self.calls += 1
        call = self.calls
        await self.go.wait()
        if call in self.failures:
            raise self.failures[call]
        return Stored(call, call)


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def ready(store: Store) -> Store:
    store.go.set()
    return store


def keys(window: float = 300, most: int = 100) -> IdempotencyKeys:
    return IdempotencyKeys(window, most)


async def test_a_repetition_is_answered_and_not_stored(ready: Store) -> None:
    table = keys()
    assert await table.once("log", "", "k", BODY, ready) == (Stored(1, 1), False)
    assert await table.once("log", "", "k", BODY, ready) == (Stored(1, 1), True)
    assert ready.calls == 1


async def test_another_publication_under_the_same_key_is_refused(ready: Store) -> None:
    table = keys()
    await table.once("log", "", "k", BODY, ready)
    with pytest.raises(KeyReused):
        await table.once("log", "", "k", OTHER, ready)
    assert (await table.once("log", "", "k", BODY, ready))[1]


@pytest.mark.parametrize(
    ("log", "scope", "key"),
    [("other", "", "k"), ("log", "ada", "k"), ("log", "", "K"), ("log", "1 ", "k")],
)
async def test_keys_of_others_are_other_keys(ready: Store, log: str, scope: str, key: str) -> None:
    table = keys()
    await table.once("log", "", "k", BODY, ready)
    assert await table.once(log, scope, key, OTHER, ready) == (Stored(2, 2), False)


async def test_a_key_can_be_used_again_after_its_window(
    autojump_clock: MockClock, ready: Store
) -> None:
    table = keys(window=10)
    await table.once("log", "", "k", BODY, ready)
    await trio.sleep(9.9)
    assert (await table.once("log", "", "k", BODY, ready))[1]
    await trio.sleep(0.2)
    assert await table.once("log", "", "k", OTHER, ready) == (Stored(2, 2), False)
    await trio.sleep(9.9)
    assert await table.once("log", "", "k", OTHER, ready) == (Stored(2, 2), True)


async def test_a_repetition_waits_for_the_first_one(store: Store) -> None:
    table = keys()
    seen: list[tuple[Stored, bool]] = []

    async def publish() -> None:
        seen.append(await table.once("log", "", "k", BODY, store))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(publish)
        await wait_all_tasks_blocked()
        assert (store.calls, seen) == (1, [])
        with pytest.raises(KeyReused):
            await table.once("log", "", "k", OTHER, store)
        store.go.set()
    assert sorted(replayed for _, replayed in seen) == [False, True, True]
    assert {stored for stored, _ in seen} == {Stored(1, 1)}


async def test_a_failure_is_shared_by_who_waited_and_not_remembered(store: Store) -> None:
    table = keys()
    store.failures[1] = NoRoom("no room", 1.5)
    refused: list[NoRoom] = []

    async def publish() -> None:
        with pytest.raises(NoRoom, match="no room") as raised:
            await table.once("log", "", "k", BODY, store)
        refused.append(raised.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        nursery.start_soon(publish)
        await wait_all_tasks_blocked()
        store.go.set()
    assert [refusal.retry_after for refusal in refused] == [1.5, 1.5]
    assert store.calls == 1
    assert await table.once("log", "", "k", OTHER, store) == (Stored(2, 2), False)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_who_waits_for_one_that_came_to_nothing_tries_itself(store: Store, how: str) -> None:
    table = keys()
    scope = trio.CancelScope()

    async def first() -> None:
        with scope, suppress(RuntimeError):
            await table.once("log", "", "k", BODY, store)
            pytest.fail("it came to something")

    async def second() -> None:
        assert await table.once("log", "", "k", BODY, store) == (Stored(2, 2), False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        nursery.start_soon(second)
        await wait_all_tasks_blocked()
        if how == "cancelled":
            scope.cancel()
        else:
            store.failures[1] = RuntimeError("the type failed")
        store.go.set()
    assert scope.cancelled_caught == (how == "cancelled")
    assert store.calls == 2


async def test_stored_is_remembered_though_the_client_has_gone(ready: Store) -> None:
    """Cancelled right after: a client that lost its connection then asks again with its key."""
    table = keys()
    with trio.CancelScope() as scope:

        async def store_and_lose_the_client() -> Stored:
            scope.cancel()
            return Stored(7, 7)

        await table.once("log", "", "k", BODY, store_and_lose_the_client)
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert await table.once("log", "", "k", BODY, ready) == (Stored(7, 7), True)


async def fill(table: IdempotencyKeys, log: str, count: int, store: Store) -> None:
    for number in range(count):
        await table.once(log, "", str(number), BODY, store)


async def is_known(table: IdempotencyKeys, log: str, key: str) -> bool:
    async def nothing() -> Stored:
        raise NoRoom("looked only")

    try:
        return (await table.once(log, "", key, BODY, nothing))[1]
    except NoRoom:
        return False


async def test_the_number_is_bounded_and_the_oldest_goes(ready: Store) -> None:
    table = keys(most=10)
    await fill(table, "log", 25, ready)
    assert len(table) == 10
    known = [number for number in range(25) if await is_known(table, "log", str(number))]
    assert known == list(range(15, 25))


async def test_a_flood_for_one_log_costs_the_others_none(ready: Store) -> None:
    table = keys(most=10)
    await fill(table, "quiet", 4, ready)
    await fill(table, "flood", 100, ready)
    assert len(table) == 10
    assert all([await is_known(table, "quiet", str(number)) for number in range(4)])
    await fill(table, "new", 1, ready)
    assert len(table) == 10
    assert await is_known(table, "new", "0")


async def test_logs_that_nobody_publishes_to_any_more_are_forgotten(
    autojump_clock: MockClock, ready: Store
) -> None:
    table = keys(window=10)
    for log in range(20):
        await fill(table, str(log), 3, ready)
    assert len(table) == 60
    await trio.sleep(11)
    await fill(table, "living", 25, ready)
    assert len(table) == 25


@pytest.mark.parametrize("key", ["k", "x" * MAX_KEY_BYTES, "ü" * (MAX_KEY_BYTES // 2)])
def test_keys_that_are_taken(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_BYTES + 1), "ü" * 65, "\ud800"])
def test_keys_that_are_not(key: str) -> None:
    with pytest.raises(BadIdempotencyKey, match="idempotency key"):
        check_key(key)


def test_what_tells_publications_apart() -> None:
    def event(packed: bytes, name: str | None = None) -> EncodedEvent:
        return EncodedEvent(b"", packed, name)

    publications = [
        [event(b"\x01")],
        [event(b"\x02")],
        [event(b"\x01"), event(b"\x02")],
        [event(b"\x01", "a")],
        [event(b"\x01", "ab")],
        [event(b"\xa1a", "a")],
    ]
    assert len({fingerprint_of(events) for events in publications}) == len(publications)
    assert fingerprint_of([event(b"\x01", "a")]) == fingerprint_of([event(b"\x01", "a")])
