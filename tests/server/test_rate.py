"""Token buckets, on a clock of the test's."""

import pytest

from penstock_server.rate import Buckets, TokenBucket, client_network


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_at_once_then_the_rate(clock: Clock) -> None:
    bucket = TokenBucket(rate=2, burst=3, clock=clock)
    assert [bucket.take(1) for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.5
    assert bucket.take(1) == 0
    assert bucket.take(1) == 0.5


def test_many_are_taken_all_or_none(clock: Clock) -> None:
    bucket = TokenBucket(rate=1, burst=10, clock=clock)
    assert bucket.take(6) == 0
    assert bucket.take(6) == 2
    assert bucket.take(4) == 0


def test_waiting_as_told_is_enough(clock: Clock) -> None:
    bucket = TokenBucket(rate=0.3, burst=7, clock=clock)
    for count in (7, 1, 2, 7, 3, 5) * 20:
        clock.now += bucket.wait_for(count)
        assert bucket.take(count) == 0


def test_it_never_holds_more_than_the_burst(clock: Clock) -> None:
    bucket = TokenBucket(rate=10, burst=3, clock=clock)
    clock.now += 1000
    assert bucket.take(3) == 0
    assert bucket.take(1) == pytest.approx(0.1)


def test_looking_takes_nothing(clock: Clock) -> None:
    bucket = TokenBucket(rate=1, burst=2, clock=clock)
    assert [bucket.wait_for(2) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(2) == 0
    assert bucket.wait_for(1) == 1


def test_a_client_keeps_its_bucket_until_it_is_full_again(clock: Clock) -> None:
    buckets = Buckets(rate=1, burst=2, clock=clock)
    buckets.of("a").take(2)
    assert buckets.of("a").wait_for(1) == 1
    assert buckets.of("b").wait_for(2) == 0
    clock.now += 2
    buckets.of("c").take(1)
    assert len(buckets) == 1, "a and b are full"


def test_the_table_is_bounded_and_the_longest_unused_goes(clock: Clock) -> None:
    buckets = Buckets(rate=0.001, burst=2, most=3, clock=clock)
    for name in "abc":
        buckets.of(name).take(2)
    buckets.of("a")
    buckets.of("d").take(1)
    assert len(buckets) == 3
    assert buckets.of("a").wait_for(1) > 0
    assert buckets.of("b").wait_for(2) == 0, "forgotten, so new"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_one_client_has_one_name(address: str, network: str) -> None:
    assert client_network(address) == network
