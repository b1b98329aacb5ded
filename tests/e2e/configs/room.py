"""A topic that waits for its readers, and publishers that don't wait long."""

from penstock_server import Limits, Server, Timing

server = Server(
    limits=Limits(publish_wait=0.3),
    timing=Timing(stall_timeout=30.0, grace=2.0),
)
waiting = server.topic("waiting", accepts=object, slow="block", retain=20)
