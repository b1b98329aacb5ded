"""Is the engine as fast as it should be, beside plain loops, hand-written tasks and its peers?

    python benchmarks/engine.py [--only ROW] [--quick] [--check]    (--help names the rest)

Each row is a file in ``benchmarks/engine_rows``, which says what it answers. What is compared takes
turns in one run, so that what else the machine does hits all alike; a ratio is that of neighbours
in time. Medians are shown with the smallest and the largest value.

The peers (aiostream, bytewax, reactivex, streamz) are the extra ``bench``, which ``scripts/bench``
installs; their work is in ``benchmarks/engine_peers``. One that is not there is said and left out.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from benchmarks import engine_rows
    from benchmarks.rows import run

    return run(engine_rows, __doc__)


if __name__ == "__main__":
    sys.exit(main())
