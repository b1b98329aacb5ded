import re

import pytest

from penstock.wire.cursor import (
    MAX_OFFSET,
    BadCursor,
    Cursor,
    cursor_text,
    from_base36,
    new_epoch,
    to_base36,
)


def test_a_cursor_prints_as_epoch_and_offset_in_base_36() -> None:
    assert str(Cursor("k3x9", 0)) == "k3x9-0"
    assert str(Cursor("k3x9", 36**2 + 35)) == "k3x9-10z"
    assert cursor_text("k3x9", 36**2 + 35) == "k3x9-10z"


@pytest.mark.parametrize("offset", [0, 1, 35, 36, 1295, 1296, 10**9, MAX_OFFSET])
def test_printing_and_parsing_are_each_others_inverse(offset: int) -> None:
    cursor = Cursor("0a1", offset)
    assert Cursor.parse(str(cursor)) == cursor
    assert from_base36(to_base36(offset)) == offset


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "abc",
        "abc-",
        "-1",
        "earliest",
        "ABC-1",
        "abc-A",
        "abc-01",
        "abc-00",
        "abc--1",
        "abc-+1",
        "abc-1_0",
        "abc- 1",
        " abc-1",
        "abc-1\n",
        "abc\n-1",
        "abc-1-1",
        "a.c-1",
        "abc-٣",  # a digit, to int(), but not an ASCII one
        "äbc-1",
        "abc-1\0",
        "abc-" + "1" * 14,
        "abc-1y2p0ij32e8e8",  # one more than MAX_OFFSET
        "a" * 63 + "-1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        Cursor.parse(text)


def test_a_cursor_of_64_bytes_is_taken() -> None:
    text = "a" * 62 + "-1"
    assert str(Cursor.parse(text)) == text


@pytest.mark.parametrize(
    ("epoch", "offset"), [("", 1), ("A", 1), ("a-b", 1), ("a", -1), ("a", 2**63), ("a" * 62, 36)]
)
def test_a_cursor_that_could_not_be_parsed_cannot_be_made(epoch: str, offset: int) -> None:
    with pytest.raises(BadCursor):
        Cursor(epoch, offset)


def test_a_negative_number_has_no_base_36() -> None:
    with pytest.raises(ValueError, match="negative"):
        to_base36(-1)


def test_epochs_are_random_and_fit_a_cursor() -> None:
    epochs = {new_epoch() for _ in range(1000)}
    assert len(epochs) == 1000
    assert all(re.fullmatch("[0-9a-z]{10}", epoch) for epoch in epochs)
    assert len(str(Cursor(new_epoch(), MAX_OFFSET))) <= 64
