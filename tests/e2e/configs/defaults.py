"""A server with every setting as it comes."""

import penstock as ps
from penstock_server import Server

server = Server()
anything = server.topic("anything", accepts=object)


@server.topic("ticks")
def ticks() -> ps.Stream[int]:
    return ps.every(0.02)
