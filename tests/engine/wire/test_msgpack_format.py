import msgpack  # type: ignore[import-untyped] # it ships no annotations
import pytest

from penstock.wire.msgpack_format import (
    MalformedMessagePack,
    array_header,
    map_header,
    string,
    unpack_all,
    unpack_one,
)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 255, 65_535, 65_536])
def test_headers_are_the_ones_of_a_packer(length: int) -> None:
    packer = msgpack.Packer()
    assert array_header(length) == packer.pack_array_header(length)
    assert map_header(length) == packer.pack_map_header(length)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_strings_are_the_ones_of_a_packer(length: int) -> None:
    assert string(b"x" * length) == msgpack.packb("x" * length)


def test_values_are_taken_one_after_another() -> None:
    values = [1, {"a": [2, None]}, "x" * 1000, b"\xc1", []]
    assert list(unpack_all(b"".join(map(msgpack.packb, values)))) == values
    assert list(unpack_all(b"")) == []


def test_values_before_a_fault_are_given_first() -> None:
    values = unpack_all(b"\x01\x02\xc1")
    assert [next(values), next(values)] == [1, 2]
    with pytest.raises(MalformedMessagePack):
        next(values)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "cut short"),
        (b"\x92\x01", "cut short"),
        (b"\xdd\xff\xff\xff\xff", "cut short"),
        (b"\x01\x02", "something follows"),
        (b"\xc1", "malformed"),
        (b"\xa1\xff", "utf-8"),
        (b"\x81\x01\x02", "int is not allowed for map key"),
        (b"\x81\x90\x02", "list is not allowed for map key"),
        (b"\x91" * 5000 + b"\xc0", "nested too deeply"),
    ],
)
def test_a_malformed_payload_says_why(payload: bytes, says: str) -> None:
    with pytest.raises(MalformedMessagePack, match=says):
        unpack_one(payload)
