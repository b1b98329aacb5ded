"""Laws of the channel, for any interleaving of senders and a receiver.

An interleaving is drawn as the number of turns of the scheduler that each side lets pass before
each of its steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle

import trio
from hypothesis import given
from hypothesis import strategies as st

from penstock._channel import Channel
from penstock._spec import Inlet, Overflow

Item = tuple[int, int]  # the sender, and its count
Plan = list[tuple[int, int]]  # of a sender: turns to let pass, and items to send then

chunks = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=8)
senders = st.lists(chunks, min_size=1, max_size=3)
pauses = st.lists(st.integers(0, 6), min_size=1, max_size=8)
capacities = st.integers(1, 8)


@dataclass
class Outcome:
    sent: dict[int, list[Item]] = field(default_factory=dict[int, list[Item]])
    taken: list[Item] = field(default_factory=list[Item])
    most_held: int = 0


async def let_pass(turns: int) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()


async def exchange(
    outcome: Outcome,
    channel: Channel,
    plans: list[Plan],
    pauses: list[int],
    key: Callable[[Item], object] | None = None,
) -> None:
    async def send(sender: int, plan: Plan) -> None:
        items = outcome.sent.setdefault(sender, [])
        for turns, size in plan:
            await let_pass(turns)
            chunk = [(sender, len(items) + n) for n in range(size)]
            items += chunk
            await channel.send(chunk if key is None else [(key(item), item) for item in chunk])
            outcome.most_held = max(outcome.most_held, len(channel))
        channel.close_sender()

    async with trio.open_nursery() as nursery:
        for sender, plan in enumerate(plans):
            nursery.start_soon(send, sender, plan)
        for turns in cycle(pauses):
            await let_pass(turns)
            outcome.most_held = max(outcome.most_held, len(channel))
            try:
                items = await channel.receive()
            except trio.EndOfChannel:
                return
            assert items
            outcome.taken += items


def run(
    overflow: Overflow,
    capacity: int,
    plans: list[Plan],
    pauses: list[int],
    key: Callable[[Item], object] | None = None,
) -> tuple[Channel, Outcome]:
    channel = Channel(Inlet(capacity, overflow, keyed=key is not None), len(plans))
    outcome = Outcome()
    trio.run(exchange, outcome, channel, plans, pauses, key)
    return channel, outcome


def of_sender(items: list[Item], sender: int) -> list[Item]:
    return [item for item in items if item[0] == sender]


def check_counts(channel: Channel, outcome: Outcome) -> None:
    sent = sum(len(items) for items in outcome.sent.values())
    assert channel.passed == sent
    assert channel.passed == len(outcome.taken) + channel.dropped + len(channel)
    assert max(outcome.most_held, channel.peak) <= channel.capacity
    assert (channel.abandoned, channel.turned_away, channel.waiting) == (0, 0, (0, 0))


@given(capacities, senders, pauses)
def test_block_loses_and_duplicates_nothing_and_keeps_each_senders_order(
    capacity: int, plans: list[Plan], pauses: list[int]
) -> None:
    channel, outcome = run("block", capacity, plans, pauses)
    check_counts(channel, outcome)
    assert channel.dropped == 0
    for sender, sent in outcome.sent.items():
        assert of_sender(outcome.taken, sender) == sent


@given(st.sampled_from(["drop_oldest", "drop_newest"]), capacities, senders, pauses)
def test_dropping_duplicates_nothing_and_keeps_each_senders_order(
    overflow: Overflow, capacity: int, plans: list[Plan], pauses: list[int]
) -> None:
    channel, outcome = run(overflow, capacity, plans, pauses)
    check_counts(channel, outcome)
    for sender in outcome.sent:
        taken = of_sender(outcome.taken, sender)
        assert taken == sorted(set(taken))


@given(capacities, senders, pauses)
def test_drop_oldest_keeps_the_last_item_of_all(
    capacity: int, plans: list[Plan], pauses: list[int]
) -> None:
    _, outcome = run("drop_oldest", capacity, plans[:1], pauses)
    assert outcome.taken[-1:] == outcome.sent[0][-1:]


@given(capacities, senders, pauses)
def test_drop_newest_keeps_the_first_item_of_all(
    capacity: int, plans: list[Plan], pauses: list[int]
) -> None:
    _, outcome = run("drop_newest", capacity, plans[:1], pauses)
    assert outcome.taken[:1] == outcome.sent[0][:1]


@given(capacities, senders, pauses, st.integers(1, 3))
def test_conflate_keeps_the_last_item_of_each_key_and_each_keys_order(
    capacity: int, plans: list[Plan], pauses: list[int], keys: int
) -> None:
    def key(item: Item) -> Item:
        return (item[0], item[1] % keys)

    channel, outcome = run("conflate", capacity, plans, pauses, key)
    check_counts(channel, outcome)
    sent = [item for items in outcome.sent.values() for item in items]
    for each in {key(item) for item in sent}:
        taken = [item for item in outcome.taken if key(item) == each]
        assert taken == sorted(set(taken))
        assert taken[-1] == max(item for item in sent if key(item) == each)


@given(capacities, senders, pauses, st.integers(0, 30))
def test_cancelled_what_was_sent_is_a_prefix_and_the_counts_add_up(
    capacity: int, plans: list[Plan], pauses: list[int], turns: int
) -> None:
    channel = Channel(Inlet(capacity), len(plans))
    outcome = Outcome()

    async def cancel_after_some_turns() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange, outcome, channel, plans, pauses)
            await let_pass(turns)
            nursery.cancel_scope.cancel()

    trio.run(cancel_after_some_turns)
    left = len(channel)
    channel.close_receiver()
    begun = sum(len(items) for items in outcome.sent.values())
    assert begun == channel.passed + channel.turned_away
    assert channel.passed == len(outcome.taken) + channel.abandoned
    assert channel.abandoned == left
    for sender, sent in outcome.sent.items():
        taken = of_sender(outcome.taken, sender)
        assert taken == sent[: len(taken)]
