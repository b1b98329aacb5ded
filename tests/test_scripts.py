"""The scripts that install what is missing, when several of them are started at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Stands for Python: it makes an "environment" of itself, slowly, and notes what it was asked for.
PYTHON = """\
#!/bin/sh
case "$1 $2" in
"-c import sys; sys"*) exit 0 ;;
"-c import fcntl"*) exec {python} "$@" ;;
"-m venv") echo venv >>{log}; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; exit 0 ;;
"-m pip") [ "$3" = --version ] || { echo begin >>{log}; sleep 0.5; echo end >>{log}; } ;;
"--version ") echo Python ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "tests" / "npm", root / "tests" / "npm")
    (root / "scripts").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "scripts/_venv.sh"):
        shutil.copy(ROOT / name, root / name)
    script = root / "scripts" / "try"
    script.write_text(
        '#!/bin/sh\nset -eu\n. "$(dirname -- "$0")/_venv.sh"\nensure_venv server,net\n'
        "ls /proc/self/fd | grep -qx 9 && echo lock kept\necho ready\n"
    )
    python = root / "python"
    text = PYTHON.replace("{python}", sys.executable)
    python.write_text(text.replace("{log}", f"'{root}/log'"))
    for each in (script, python):
        each.chmod(0o755)
    return root


def started(checkout: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [checkout / "scripts" / "try"],
        env={"PATH": "/usr/bin:/bin", "PENSTOCK_PYTHON": str(checkout / "python")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def log(checkout: Path) -> list[str]:
    return (checkout / "log").read_text().split()


def test_of_several_that_start_at_once_one_installs_and_the_others_wait(checkout: Path) -> None:
    said = [each.communicate(timeout=60) for each in [started(checkout) for _ in range(3)]]
    assert [out for out, _ in said] == ["ready\n"] * 3
    assert log(checkout) == ["venv", "begin", "end"]
    waiting = [err for _, err in said if "waiting for the other installation" in err]
    assert len(waiting) == 2


def test_one_that_was_killed_keeps_nobody_out(checkout: Path) -> None:
    (checkout / ".venv.lock").touch()
    out, err = started(checkout).communicate(timeout=60)
    assert (out, "waiting" in err) == ("ready\n", False)
    assert log(checkout) == ["venv", "begin", "end"]
