"""The systemd unit of docs/deployment.md is one that systemd understands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from .snippets import snippet

_PROGRAM = "/srv/penstock/.venv/bin/penstock"


def test_systemd_finds_no_fault_with_it(tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "scripts/test-proxies installs it"
    unit = tmp_path / "penstock.service"
    unit.write_text(snippet("penstock.service", (_PROGRAM, sys.executable)), encoding="utf-8")

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )

    ours = [line for line in checked.stderr.splitlines() if "penstock" in line]
    assert ours == []
    assert checked.returncode == 0


def test_it_would_find_one(tmp_path: Path) -> None:
    unit = tmp_path / "penstock.service"
    text = snippet("penstock.service", (_PROGRAM, sys.executable), ("Restart=always", "Restart=so"))
    unit.write_text(text, encoding="utf-8")

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )

    assert "restart specifier" in checked.stderr


def test_systemd_waits_longer_than_the_grace() -> None:
    unit = snippet("penstock.service")
    grace = re.search(r"--grace (\d+)", unit)
    patience = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert grace is not None
    assert patience is not None
    assert int(patience[1]) > int(grace[1])
