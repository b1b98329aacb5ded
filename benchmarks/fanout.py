"""Is penstock's fan-out as fast as its peers', and what does a reader cost?

    python benchmarks/fanout.py [--only ROW] [--quick] [--check] [--write-results]

Penstock, nchan in nginx, Node's ws, websockets and sse-starlette on uvicorn serve the same events
to the same client, the server pinned to one core and the client to another, in turn in one run.
``benchmarks/peers/install`` gets the peers. The parts are in ``benchmarks/fan``, the client in
``benchmarks/client``, the peers' own small programs in ``benchmarks/peers``.
"""

import sys
from pathlib import Path


def run() -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from benchmarks.fan.cli import main

    main()


if __name__ == "__main__":
    run()
