"""Are penstock's clients as fast as they should be, and how soon are they back after a cut?

    python benchmarks/clients.py [--only ROW] [--quick] [--json] [--check]

Each row is a file in ``benchmarks/clients_rows``, which says what it answers. What is compared
takes turns in one run, so that what else the machine does hits all alike; a ratio is that of
neighbours in time. Medians are shown with the smallest and the largest value.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from benchmarks.clients_rows import FULL, QUICK, rows
    from benchmarks.clients_rows.figures import as_dict, table

    found = rows()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--only", action="append", choices=[*found], help="this row; may be given again"
    )
    parser.add_argument("--quick", action="store_true", help="fewer turns, smaller loads")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    results = {}
    for name in options.only or found:
        results[name] = found[name].measure(QUICK if options.quick else FULL)
        if not options.json:
            print(f"\n{found[name].title} ({name})\n{table(results[name])}", flush=True)
    if options.json:
        print(json.dumps({name: [*map(as_dict, each)] for name, each in results.items()}, indent=2))
    missed = any(figure.met is False for each in results.values() for figure in each)
    return int(options.check and missed)


if __name__ == "__main__":
    sys.exit(main())
