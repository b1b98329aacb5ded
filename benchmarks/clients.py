"""Are penstock's clients as fast as they should be, and how soon are they back after a cut?

    python benchmarks/clients.py [--only ROW] [--quick] [--check]    (--help names the rest)

Each row is a file in ``benchmarks/clients_rows``, which says what it answers. What is compared
takes turns in one run, so that what else the machine does hits all alike; a ratio is that of
neighbours in time. Medians are shown with the smallest and the largest value.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from benchmarks import clients_rows
    from benchmarks.rows import run

    return run(clients_rows, __doc__)


if __name__ == "__main__":
    sys.exit(main())
