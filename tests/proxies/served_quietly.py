"""A server whose keepalives come later than the proxies' time-out: they are what holds a stream."""

from penstock_server import Server, Timing

server = Server(timing=Timing(keepalive=60, heartbeat=60))
silent = server.topic("silent", accepts=object)
