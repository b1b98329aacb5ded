"""Files compressed by their names: all that is there, the damage told, and memory bounded."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import pytest
import zstandard

from penstock._compression import DamagedFile, compressing, open_to_read

DATA = random.Random(1).randbytes(70_000) + bytes(300_000) + b"end"


def zstd(data: bytes, *, sized: bool = True, checksum: bool = True, level: int = 3) -> bytes:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum)
    if sized:
        return compressor.compress(data)
    stream = compressor.compressobj()
    return stream.compress(data) + stream.flush()


def skippable(content: bytes) -> bytes:
    return b"\x5a\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


def read_all(path: Path, size: int = 1 << 16) -> bytes:
    file = open_to_read(path)
    try:
        parts: list[bytes] = []
        while part := file.read(size):
            assert len(part) <= size
            parts.append(part)
        return b"".join(parts)
    finally:
        file.close()


WHOLE: dict[str, tuple[str, bytes, bytes]] = {
    "gzip": ("a.gz", gzip.compress(DATA), DATA),
    "gzip, upper case": ("a.GZ", gzip.compress(DATA), DATA),
    "gzip of nothing": ("a.gz", gzip.compress(b""), b""),
    "gzip, members": ("a.gz", gzip.compress(DATA) * 2 + gzip.compress(b"") * 3, DATA * 2),
    "gzip, many members": ("a.gz", gzip.compress(b"ab") * 5000, b"ab" * 5000),
    "gzip, zeros behind": ("a.gz", gzip.compress(DATA) + bytes(100_000), DATA),
    "zstd": ("a.zst", zstd(DATA), DATA),
    "zstd of nothing": ("a.zst", zstd(b""), b""),
    "zstd without sizes and sums": ("a.zst", zstd(DATA, sized=False, checksum=False), DATA),
    "zstd, large window": ("a.zst", zstd(DATA, sized=False, level=19), DATA),
    "zstd, frames": ("a.zst", zstd(DATA) + zstd(b"", sized=False) + zstd(DATA), DATA * 2),
    "zstd, skippable frames": (
        "a.zst",
        skippable(b"x" * 100_000) + zstd(DATA) + skippable(b""),
        DATA,
    ),
    "zstd, many frames": ("a.zst", zstd(b"ab") * 5000, b"ab" * 5000),
    "not compressed": ("a.txt", DATA, DATA),
}


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_all_is_read(tmp_path: Path, case: str, size: int) -> None:
    name, packed, expected = WHOLE[case]
    (tmp_path / name).write_bytes(packed)
    assert read_all(tmp_path / name, size) == expected


SMALL = random.Random(2).randbytes(100)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.gz", [gzip.compress(SMALL), gzip.compress(b"x")]),
        ("a.zst", [zstd(SMALL), skippable(b"abc"), zstd(b"x" * 1000, sized=False)]),
        ("a.zst", [zstd(SMALL, checksum=False)]),
    ],
)
def test_a_cut_anywhere_is_told(tmp_path: Path, name: str, parts: list[bytes]) -> None:
    path, packed = tmp_path / name, b"".join(parts)
    whole: list[int] = []
    for cut in range(len(packed) + 1):
        path.write_bytes(packed[:cut])
        with suppress(DamagedFile):
            read_all(path)
            whole.append(cut)
    assert whole == list(accumulate(map(len, parts)))


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("a.gz", DATA),
        ("a.gz", gzip.compress(DATA) + b"more"),
        ("a.gz", gzip.compress(DATA)[:-8] + bytes(8)),
        ("a.zst", DATA),
        ("a.zst", zstd(DATA) + b"more of it"),
        ("a.zst", zstd(DATA)[:-4] + b"sums"),
        ("a.zst", gzip.compress(DATA)),
    ],
)
def test_what_is_damaged_is_told(tmp_path: Path, name: str, packed: bytes) -> None:
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(DamagedFile, match=rf"{name}: no (gzip|zstd), or damaged: "):
        read_all(tmp_path / name)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
def test_what_comes_before_the_damage_is_given(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(DATA) + b"no more of that")
    file = open_to_read(path)
    assert file.read(1 << 20)[:100_000] == DATA[:100_000]
    with pytest.raises(DamagedFile):
        while file.read(1 << 20):
            pass
    with pytest.raises(DamagedFile):
        file.read(1)
    file.close()


@pytest.mark.parametrize("name", ["a.gz", "a.zst", "a.txt"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for parts in ([], [b""], [DATA], [DATA[:1000], b"", DATA[1000:]]):
        with path.open("wb") as file:
            writable = compressing(path, file)
            for part in parts:
                writable.write(part)
            writable.close()
            assert not file.closed
        assert read_all(path) == b"".join(parts)


def test_the_same_data_makes_the_same_gzip_file(tmp_path: Path) -> None:
    files: list[bytes] = []
    for name in ("a.gz", "b.gz"):
        with (tmp_path / name).open("wb") as file:
            writable = compressing(tmp_path / name, file)
            writable.write(DATA)
            writable.close()
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    assert gzip.decompress(files[0]) == DATA


BOMB = """
import resource, sys, zlib, zstandard
from pathlib import Path
from penstock._compression import open_to_read

path = Path(sys.argv[1])
if path.suffix == ".gz":
    packer = zlib.compressobj(wbits=31)
else:
    packer = zstandard.ZstdCompressor().compressobj()
with path.open("wb") as file:
    for _ in range(100):
        file.write(packer.compress(bytes(1 << 20)))
    file.write(packer.flush())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file = open_to_read(path)
total = 0
while data := file.read(1 << 18):
    total += len(data)
print(total >> 20, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("name", ["bomb.gz", "bomb.zst"])
def test_a_bomb_grows_no_memory(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", BOMB, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mib, grown = map(int, done.stdout.split())
    assert mib == 100
    assert grown < 30
