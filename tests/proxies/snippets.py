"""The configurations that docs/deployment.md shows: each fenced block under a snippet comment."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "deployment.md"

_MARKED = re.compile(r"<!-- snippet: (\S+) -->\n```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def snippets() -> dict[str, str]:
    """The text of every marked block, by the file name that its comment gives."""
    return dict(_MARKED.findall(PAGE.read_text(encoding="utf-8")))


def snippet(name: str, *changes: tuple[str, str]) -> str:
    """One snippet with each `(old, new)` replaced. Each must be there: the page has moved else."""
    text = snippets()[name]
    for old, new in changes:
        assert old in text, f"{name} in {PAGE.name} says {old!r} no more"
        text = text.replace(old, new)
    return text
