from __future__ import annotations

import re

import pytest

from penstock.producers.splitting import LineSplitter, LineTooLong


def split(pieces: list[bytes], most: int = 10) -> list[bytes]:
    splitter = LineSplitter("here", most)
    lines = [line for piece in pieces for line in splitter.split(piece)]
    return lines + splitter.end()


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"\n"],
        [b"a\nb\r\n\rc\n\nd"],
        [b"a", b"b", b"\n", b"\n", b"c"],
        [b"a\n", b"b\nc", b"d\ne\n"],
        [b"\n\n", b"\x00\x0b\x0c\x1c\xc2\x85"],
    ],
)
def test_only_a_line_feed_ends_a_line(pieces: list[bytes]) -> None:
    expected = re.findall(rb"[^\n]*\n|[^\n]+", b"".join(pieces))
    assert split(pieces) == expected


@pytest.mark.parametrize(
    ("pieces", "number"),
    [
        ([b"12345678901"], 1),
        ([b"123456", b"7890", b"1"], 1),
        ([b"a\nb\n12345678901\nc\n"], 3),
        ([b"a\nb\n", b"c\n12345678901"], 4),
        ([b"a\nb", b"\n12345", b"678901\n"], 3),
    ],
)
def test_a_line_that_is_too_long_is_told_by_its_number(pieces: list[bytes], number: int) -> None:
    with pytest.raises(LineTooLong, match=f"here:{number}: a line of over 10 bytes"):
        split(pieces)


def test_a_line_may_have_as_many_bytes_as_that() -> None:
    assert split([b"1234567890\n1234", b"567890"]) == [b"1234567890\n", b"1234567890"]


def test_what_is_forgotten_is_not_given() -> None:
    splitter = LineSplitter("here", 10)
    assert splitter.split(b"a\nb") == [b"a\n"]
    splitter.forget()
    assert splitter.split(b"c\n") == [b"c\n"]
    assert splitter.end() == []


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("pieces", [[MARK + b"a\nb\n"], [MARK[:1], MARK[1:], b"a", b"\nb\n"]])
def test_a_mark_of_the_byte_order_is_no_part_of_the_first_line(pieces: list[bytes]) -> None:
    assert split(pieces) == [b"a\n", b"b\n"]


@pytest.mark.parametrize("text", [b"a\n" + MARK + b"b\n", b"a" + MARK + b"\n"])
def test_elsewhere_it_is_a_character(text: bytes) -> None:
    assert b"".join(split([text])) == text
    assert split([MARK * 2 + b"\n"]) == [MARK + b"\n"]


def test_of_a_stream_that_does_not_begin_with_its_first_line_it_is_a_character_anywhere() -> None:
    splitter = LineSplitter("here", 10, numbered=False)
    assert splitter.split(MARK + b"a\n") == [MARK + b"a\n"]


@pytest.mark.parametrize("text", [MARK, b""])
def test_of_a_mark_alone_there_is_no_line(text: bytes) -> None:
    assert split([text]) == []
