"""Real records: the functions and classes of the standard library of the Python that runs this.

What the parser finds in its files, nested and of uneven size: names, arguments, decorators, where
it stands, the first words that are said about it, in whatever language and alphabet.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

_Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

DISTINCT = 20_000
"""How many are looked for; then they come again with other ids."""


def write_records(path: Path, size: int) -> None:
    """Write lines of JSON up to ``size`` bytes, and the rest of the last line."""
    found = list(islice(_records(), DISTINCT))
    encode = msgspec.json.Encoder().encode
    ids = count()
    written = 0
    with path.open("wb") as out:
        while written < size:
            for record in found:
                written += out.write(encode({"id": next(ids), **record}) + b"\n")
                if written >= size:
                    break


def _records() -> Iterator[dict[str, Any]]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the code that is read
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # the library's tests have some on purpose
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield _record(module, node)


def _record(module: str, node: _Definition) -> dict[str, Any]:
    is_class = isinstance(node, ast.ClassDef)
    arguments = [] if isinstance(node, ast.ClassDef) else node.args.args
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    about = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return {
        "module": module,
        "kind": "class" if is_class else "function",
        "name": node.name,
        "where": {"line": node.lineno, "end": node.end_lineno, "column": node.col_offset},
        "is_async": isinstance(node, ast.AsyncFunctionDef),
        "arguments": [_argument(each) for each in arguments],
        "bases": [ast.unparse(each) for each in bases],
        "decorators": [ast.unparse(each) for each in node.decorator_list],
        "about": about or None,
    }


def _argument(argument: ast.arg) -> dict[str, Any]:
    kind = None if argument.annotation is None else ast.unparse(argument.annotation)
    return {"name": argument.arg, "annotation": kind}
