"""``GET /metrics``: what the server counts and holds, for Prometheus.

Nothing is counted here. Each scrape reads the hub, and so costs nothing until it is asked for;
names and labels are in `families`, one module for each kind of thing that is measured.
"""

from .exposition import Metrics

__all__ = ["Metrics"]
