"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import penstock as ps
from penstock.config import load

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_config_file_at_the_top_loads_and_its_topics_build(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.py"
    path.write_text(PYTHON_BLOCKS[0], encoding="utf-8")

    file = load(path)

    built = {name: file.build(name, builder) for name, builder in file.topics()}
    assert set(built) == {"cpu", "short-notes"}
    assert all(isinstance(stream, ps.Stream) for stream in built.values())


def test_the_batch_example_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("access.log").write_text("a GET / 200\nb GET /x 503\nc GET /y 500\n", encoding="utf-8")
    names: dict[str, object] = {}

    exec(compile(PYTHON_BLOCKS[1], "README.md", "exec"), names)

    assert names["written"] == 2
    assert Path("errors.jsonl").read_text(encoding="utf-8").splitlines() == [
        '{"host":"b","status":"503"}',
        '{"host":"c","status":"500"}',
    ]


def test_every_block_of_python_is_run_here() -> None:
    assert len(PYTHON_BLOCKS) == 2


@pytest.mark.parametrize("script", ["penstock", "test", "bench"])
def test_the_scripts_it_names_are_there(script: str) -> None:
    path = Path(__file__).parent.parent / "scripts" / script
    assert f"scripts/{script}" in README
    assert path.stat().st_mode & 0o111, f"{path.name} must be executable"


def test_nothing_tells_to_install_the_package_that_has_this_name_on_pypi() -> None:
    root = Path(__file__).parent.parent
    places = [root / "README.md"]
    for folder in ("docs", "engine", "server", "examples", "scripts"):
        places += [each for each in (root / folder).rglob("*") if each.suffix in {".md", ".py", ""}]
    foreign = re.compile(r"pip install [^\n]*(?<![\w/])penstock\b(?!'s)")
    told = {
        str(place.relative_to(root)): foreign.findall(place.read_text(encoding="utf-8"))
        for place in places
        if place.is_file()
    }
    assert {place: lines for place, lines in told.items() if lines} == {
        "README.md": ["pip install penstock"]  # the warning
    }
