"""What is written to a file is what is read from it, in every format, compression and chunking; and
a follower gives every whole line that is not taken away from it, once, in order.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock as ps
from penstock.producers import reading
from penstock.producers.csv_rows import BadRow, RowPuller
from penstock.producers.following import Follower
from penstock.producers.reading import LinePuller

quick = settings(max_examples=40)

text = st.text(st.characters(codec="utf-8"), max_size=20)
lines = text.filter(lambda line: not {"\r", "\n"} & set(line))
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)
suffixes = st.sampled_from(["", ".gz", ".zst"])
sizes = st.lists(st.integers(1, 5), min_size=1, max_size=5)

Write: TypeAlias = Callable[[Path], ps.Sink[Any, int]]
Read: TypeAlias = Callable[[Path], ps.Stream[Any]]


@ps.producer(chunked=True)
async def in_chunks(send: ps.Sender[Any], items: list[Any], sizes: list[int]) -> None:
    at = turn = 0
    while at < len(items):
        size = sizes[turn % len(sizes)]
        await send.chunk(items[at : at + size])
        at, turn = at + size, turn + 1


async def there_and_back(
    name: str, write: Write, read: Read, items: list[Any], sizes: list[int]
) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        assert await in_chunks(items, sizes).to(write(path)).run() == len(items)
        return await read(path).to(ps.collect()).run()


def round_trip(
    name: str, write: Write, read: Read, items: list[Any], sizes: list[int]
) -> list[Any]:
    return trio.run(there_and_back, name, write, read, items, sizes)


@quick
@given(st.lists(lines), suffixes, sizes)
def test_lines(items: list[str], suffix: str, sizes: list[int]) -> None:
    assert round_trip(f"a{suffix}", ps.write_lines, ps.read_lines, items, sizes) == items


@quick
@given(st.lists(values), suffixes, sizes)
def test_json_lines(items: list[Any], suffix: str, sizes: list[int]) -> None:
    assert round_trip(f"a{suffix}", ps.write_jsonl, ps.read_jsonl, items, sizes) == items


@quick
@given(st.lists(values | st.binary(max_size=9)), suffixes, sizes)
def test_msgpack(items: list[Any], suffix: str, sizes: list[int]) -> None:
    assert round_trip(f"a{suffix}", ps.write_msgpack, ps.read_msgpack, items, sizes) == items


def tables(cells: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    """Rows of one width."""
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(cells, min_size=width, max_size=width))
    )


@quick
@given(tables(text | st.sampled_from(["\r", "\n", '"', ",", "\r\n", "a\rb"])), suffixes, sizes)
def test_csv_of_sequences(rows: list[list[str]], suffix: str, sizes: list[int]) -> None:
    def read(path: Path) -> ps.Stream[list[str]]:
        return ps.read_csv(path, header=False)

    assert round_trip(f"a{suffix}", ps.write_csv, read, rows, sizes) == rows


@quick
@given(
    st.lists(text, min_size=1, max_size=4, unique=True),
    st.data(),
    st.sampled_from(";,\t|a"),
    sizes,
)
def test_csv_of_dicts(names: list[str], data: st.DataObject, delimiter: str, sizes: Any) -> None:
    names[0] = names[0].lstrip("\ufeff")  # at the beginning of a file it is a mark, and no text
    if len(set(names)) < len(names):
        return
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, text))))

    def write(path: Path) -> ps.Sink[Any, int]:
        return ps.write_csv(path, names, delimiter=delimiter)

    def read(path: Path) -> ps.Stream[dict[str, str]]:
        return ps.read_csv(path, delimiter=delimiter)

    assert round_trip("a.csv", write, read, rows, sizes) == rows


columns = st.sampled_from([st.integers(-(2**63), 2**63 - 1), text, st.booleans(), st.binary()])


@quick
@given(st.lists(columns, min_size=1, max_size=3), st.data(), st.integers(1, 20), sizes)
def test_parquet(kinds: list[Any], data: st.DataObject, batch_rows: int, sizes: Any) -> None:
    row = {f"c{n}": st.none() | kind for n, kind in enumerate(kinds)}
    rows = data.draw(st.lists(st.fixed_dictionaries(row), max_size=30))

    def write(path: Path) -> ps.Sink[Any, int]:
        return ps.write_parquet(path, batch_rows=batch_rows)

    def read(path: Path) -> ps.Stream[dict[str, Any]]:
        return ps.read_parquet(path, batch_rows=batch_rows)

    assert round_trip("a.parquet", write, read, rows, sizes) == rows


def pulled(puller: Any) -> list[Any]:
    with closing(puller):
        found: list[Any] = []
        while items := puller.pull(1):
            found += items
        return found


def rows_in(path: Path) -> list[tuple[int, Any]]:
    """The rows, and the text of the bad ones."""
    rows = pulled(RowPuller(path, ",", 1000))
    return [(number, row.text if isinstance(row, BadRow) else row) for number, row in rows]


@quick
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\r", b'"', b",", b"\xc3\xbc", b"\xff"])),
    st.integers(1, 4),
)
def test_pieces_of_any_size_give_the_same_lines_and_rows(parts: list[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "some"
        path.write_bytes(b"".join(parts))
        lines, rows = pulled(LinePuller(path, 1000)), rows_in(path)
        assert lines == re.findall(rb"[^\n]*\n|[^\n]+", b"".join(parts))
        patch.setattr(reading, "PIECE_BYTES", size)
        assert pulled(LinePuller(path, 1000)) == lines
        assert rows_in(path) == rows


# Following


class World:
    """A file that is written to, rotated and truncated, and what a follower must see of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        self.follower = Follower(self.path, 1 << 20)
        self.expected: list[bytes] = []
        self.begun = b""
        self.writer: BinaryIO | None = None
        self.lines_before = 0
        self.lines = 0
        self.rotations = 0

    def write(self, parts: int, *, end: bool) -> None:
        """So many lines, the last perhaps without its end."""
        if self.writer is None:
            self.writer = self.path.open("ab", buffering=0)
            if self.begun:  # of the file before, which now has no more
                self.expected.append(self.begun)
                self.begun = b""
            self.lines_before = len(self.expected)
        data = b""
        for part in range(parts):
            self.lines += 1
            added = b"line %d " % self.lines * (1 + self.lines % 40)
            if end or part < parts - 1:
                added += b"\n"
            data += added
            self.begun += added
            if added.endswith(b"\n"):
                self.expected.append(self.begun)
                self.begun = b""
        self.writer.write(data)

    def rotate(self, *, late: bool) -> None:
        """The file gets another name, and perhaps some lines after that."""
        self.settle()  # a file that comes and goes between two looks is never seen
        if self.writer is None:
            return
        self.rotations += 1
        self.path.rename(self.path.with_suffix(f".{self.rotations}"))
        if late:
            self.write(2, end=False)
        self.close()

    def truncate(self) -> None:
        """All that was not seen of this file is lost."""
        if self.writer is None:
            return
        self.writer.truncate(0)
        del self.expected[max(self.lines_before, len(self.follower.lines)) :]
        self.begun = b""

    def settle(self) -> None:
        for _ in range(4):
            while self.follower.look():
                pass

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


actions = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 5), st.booleans()),
    st.tuples(st.just("look")),
    st.tuples(st.just("rotate"), st.booleans()),
    st.tuples(st.just("truncate")),
)


@settings(max_examples=200)
@given(st.lists(actions, max_size=30))
def test_a_follower_gives_every_whole_line_once_in_order(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with closing(world), closing(world.follower):
            for action, *options in script:
                match action:
                    case "write":
                        world.write(options[0], end=options[1])
                    case "rotate":
                        world.rotate(late=options[0])
                    case "truncate":
                        world.truncate()
                    case _:
                        world.follower.look()
            world.settle()
            assert world.follower.lines == world.expected
