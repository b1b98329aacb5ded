from __future__ import annotations

import pytest

from penstock._errors import BufferOverflow
from penstock._overflow import make_buffer
from penstock._spec import Inlet, Overflow


def test_block_takes_a_list_whole_or_lets_it_wait() -> None:
    buffer = make_buffer(Inlet(3, "block"))
    assert buffer.put([1, 2]) == []
    assert buffer.put([3, 4]) == [3, 4]
    assert buffer.take() == [1, 2]
    assert buffer.put([3, 4, 5, 6]) == [6]
    assert (len(buffer), buffer.dropped) == (3, 0)


def test_drop_oldest_keeps_the_newest() -> None:
    buffer = make_buffer(Inlet(3, "drop_oldest"))
    assert buffer.put([1, 2]) == []
    assert buffer.put([3, 4]) == []
    assert buffer.dropped == 1
    assert buffer.put(list(range(10))) == []
    assert (buffer.take(), buffer.dropped) == ([7, 8, 9], 11)


def test_drop_newest_keeps_the_oldest() -> None:
    buffer = make_buffer(Inlet(3, "drop_newest"))
    assert buffer.put([1, 2]) == []
    assert buffer.put([3, 4, 5]) == []
    assert buffer.put([6]) == []
    assert (buffer.take(), buffer.dropped) == ([1, 2, 3], 3)
    assert buffer.put([7]) == []
    assert buffer.take() == [7]


def test_conflate_keeps_the_newest_item_per_key_in_the_order_of_the_keys() -> None:
    buffer = make_buffer(Inlet(3, "conflate", keyed=True))
    assert buffer.put([("a", 1), ("b", 2), ("a", 3)]) == []
    assert (buffer.take(), buffer.dropped) == ([3, 2], 1)


def test_conflate_lets_items_of_too_many_keys_wait() -> None:
    buffer = make_buffer(Inlet(2, "conflate", keyed=True))
    waiting = buffer.put([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5)])
    assert waiting == [("c", 4), ("a", 5)]
    assert buffer.take() == [3, 2]
    assert buffer.put(waiting) == []
    assert buffer.take() == [4, 5]


def test_conflate_without_a_key_keeps_one_item() -> None:
    buffer = make_buffer(Inlet(5, "conflate"))
    assert buffer.put([1, 2, 3]) == []
    assert (buffer.take(), buffer.dropped) == ([3], 2)


def test_fail_refuses_a_list_that_does_not_fit() -> None:
    buffer = make_buffer(Inlet(2, "fail"))
    assert buffer.put([1, 2]) == []
    with pytest.raises(BufferOverflow) as caught:
        buffer.put([3])
    assert caught.value.capacity == 2
    assert 'overflow="fail"' in str(caught.value)
    assert buffer.take() == [1, 2]


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest", "conflate", "fail"])
def test_take_empties_the_buffer(policy: Overflow) -> None:
    buffer = make_buffer(Inlet(2, policy))
    buffer.put([1])
    assert buffer.take() == [1]
    assert (buffer.take(), len(buffer)) == ([], 0)
