"""How many connections there may be, and what counts as one address."""

from contextlib import ExitStack

import pytest

from penstock_server.hypercorn_guard._admission import (
    MAX_REFUSALS,
    Admission,
    Refusal,
    network_of,
)


def test_a_connection_counts_while_it_lasts() -> None:
    admission = Admission()
    with admission.of("192.0.2.1") as first, admission.of("192.0.2.1") as second:
        assert first is None
        assert second is None
        assert admission.counts().open == 2
    counts = admission.counts()
    assert (counts.open, counts.accepted) == (0, 2)
    assert not admission._by_address


def test_the_limit_of_an_address_leaves_others_alone() -> None:
    admission = Admission()
    admission.max_connections_per_address = 1
    with admission.of("192.0.2.1"):
        with admission.of("192.0.2.1") as more:
            assert more is Refusal.TOO_MANY_OF_ADDRESS
        with admission.of("192.0.2.2") as other, admission.of(None) as nameless:
            assert other is None
            assert nameless is None
    with admission.of("192.0.2.1") as again:
        assert again is None
    assert admission.counts().refused_of_address == 1


def test_the_limit_of_all_holds_for_every_address() -> None:
    admission = Admission()
    admission.max_connections = 2
    with admission.of("192.0.2.1"), admission.of(None):
        for address in ("192.0.2.2", None):
            with admission.of(address) as more:
                assert more is Refusal.TOO_MANY
    counts = admission.counts()
    assert (counts.refused, counts.refused_of_address, counts.accepted) == (2, 0, 2)


def test_open_files_are_a_limit_too() -> None:
    admission = Admission()
    admission._files = 1
    with admission.of("192.0.2.1"), admission.of("192.0.2.2") as more:
        assert more is Refusal.TOO_MANY_FILES
        assert "ulimit" in more.setting
    assert admission.counts().refused == 1


def test_only_so_many_are_told_at_a_time() -> None:
    admission = Admission()
    with ExitStack() as stack:
        told = [stack.enter_context(admission.refusing()) for _ in range(MAX_REFUSALS + 1)]
    assert told == [True] * MAX_REFUSALS + [False]
    with admission.refusing() as has_time:
        assert has_time


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_household_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network
