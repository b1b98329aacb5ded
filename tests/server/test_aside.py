"""Big payloads are worked on in a thread, small ones right away, with the same outcome."""

import threading

import pytest

from penstock_server.aside import AT_ONCE_BYTES, work_on


def thread_of(payload: bytes) -> int:
    return threading.get_ident()


async def test_a_small_payload_is_worked_on_right_away() -> None:
    assert await work_on(b"x" * AT_ONCE_BYTES, thread_of) == threading.get_ident()


async def test_a_big_one_in_a_thread() -> None:
    assert await work_on(b"x" * (AT_ONCE_BYTES + 1), thread_of) != threading.get_ident()


@pytest.mark.parametrize("size", [1, AT_ONCE_BYTES + 1])
async def test_what_the_work_gives_or_raises_comes_out(size: int) -> None:
    def fail(payload: bytes) -> None:
        raise ValueError("unreadable")

    assert await work_on(b"x" * size, len) == size
    with pytest.raises(ValueError, match="unreadable"):
        await work_on(b"x" * size, fail)
