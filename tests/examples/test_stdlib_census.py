"""The census of the standard library counts what a plain loop counts."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "stdlib_census.py"
LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = ("asyncio", "email", "json")


def counted(path: Path) -> Counter[str]:
    """One file, by a visitor rather than by a list of types."""
    source = path.read_bytes()
    counts = Counter(files=1, lines=len(source.splitlines()))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                counts["functions"] += 1
            case ast.ClassDef():
                counts["classes"] += 1
            case ast.Import() | ast.ImportFrom():
                counts["imports"] += 1
            case _:
                pass
    return counts


def test_the_census_agrees_with_a_plain_loop(tmp_path: Path) -> None:
    root, out = tmp_path / "library", tmp_path / "census.jsonl"
    for package in PACKAGES:
        shutil.copytree(LIBRARY / package, root / package)
    shutil.copy(LIBRARY / "this.py", root)
    (root / "json" / "not_python.py").write_text("x = (\n")
    (root / "json" / "not_text.py").write_bytes(b"x = '\xff'\n")
    (root / "site-packages").mkdir()
    (root / "site-packages" / "installed.py").write_text("x = 1\n")

    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli", "run", EXAMPLE, "--json"],
        cwd=tmp_path,
        env={**os.environ, "CENSUS_ROOT": str(root), "CENSUS_OUT": str(out)},
        capture_output=True,
        check=True,
        timeout=60,
    )

    expected = {
        package: sum(map(counted, sorted((LIBRARY / package).rglob("*.py"))), Counter[str]())
        for package in PACKAGES
    }
    expected["top-level modules"] = counted(LIBRARY / "this.py")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    found: dict[str, Counter[str]] = {line.pop("package"): Counter(line) for line in lines}
    assert list(found) == sorted(expected)
    assert found == expected

    report = json.loads(done.stdout.splitlines()[-1])  # the lines before it tell of progress
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert report["result"] == len(expected)
    assert stages["map_blocking(count_file)"]["skipped"] == 2
    assert stages["map_blocking(count_file)"]["items_out"] == sum(
        counts["files"] for counts in expected.values()
    )
