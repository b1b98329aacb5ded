"""A census of Python's own standard library: how much code is there in each package?

    scripts/penstock run examples/stdlib_census.py

Walks the library that the running Python came with, parses every file on all cores, and writes one
line of JSON for each package to ``stdlib_census.jsonl``. Files that don't parse (the library's
tests have some on purpose) are left out and counted as skipped. CENSUS_ROOT and CENSUS_OUT name
another folder to count, and another file to write.
"""

import ast
import os
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import penstock as ps

ROOT = Path(os.environ.get("CENSUS_ROOT") or sysconfig.get_path("stdlib"))
OUT = Path(os.environ.get("CENSUS_OUT") or "stdlib_census.jsonl")


@dataclass(frozen=True)
class Census:
    """What there is in one file, or in all files of a package."""

    package: str
    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: int = 0

    def __add__(self, other: "Census") -> "Census":
        return replace(
            self,
            files=self.files + other.files,
            lines=self.lines + other.lines,
            functions=self.functions + other.functions,
            classes=self.classes + other.classes,
            imports=self.imports + other.imports,
        )


@ps.producer
def source_files(root: Path) -> Iterator[Path]:
    """All Python files below a folder, without what was installed beside the library."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted({*subfolders} - {"site-packages", "dist-packages"})
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def count_file(path: Path) -> Census:
    """Parse one file; raises SyntaxError or ValueError where that can't be done."""
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the code that is counted, not about ours
        nodes = [type(node) for node in ast.walk(ast.parse(source))]
    folder, *inside = path.relative_to(ROOT).parts
    return Census(
        package=folder if inside else "top-level modules",
        files=1,
        lines=len(source.splitlines()),
        functions=nodes.count(ast.FunctionDef) + nodes.count(ast.AsyncFunctionDef),
        classes=nodes.count(ast.ClassDef),
        imports=nodes.count(ast.Import) + nodes.count(ast.ImportFrom),
    )


def count_if_python(path: Path) -> Census | None:
    """The same, but None for a file that can't be parsed: for ``census.py``, which counts those."""
    try:
        return count_file(path)
    except (SyntaxError, ValueError):
        return None


@ps.transform
async def sum_by_package(receive: ps.Receiver[Census], send: ps.Sender[Census]) -> None:
    """One census for each package, in the order of their names, once all files are counted."""
    packages: dict[str, Census] = {}
    async for file in receive:
        packages[file.package] = packages.get(file.package, Census(file.package)) + file
    for _, total in sorted(packages.items()):
        await send(total)


census = (
    source_files(ROOT)
    .map_blocking(count_file, workers=os.cpu_count() or 1, on="process", errors="skip")
    .via(sum_by_package)
    .to(ps.write_jsonl(OUT))
)

if __name__ == "__main__":
    print(f"{ps.run(census)} packages in {OUT}")
