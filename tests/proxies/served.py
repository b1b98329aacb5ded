"""What is served behind the proxies: quick keepalives, so that short time-outs can be outlasted."""

from penstock_server import Server, Timing

server = Server(timing=Timing(keepalive=0.5, heartbeat=0.5, stall_timeout=5, retry=0.25, grace=4.0))
notes = server.topic("notes", accepts=object)
silent = server.topic("silent", accepts=object)
