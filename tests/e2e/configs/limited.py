"""Publishers that may send three at once, and then one every two seconds."""

from penstock_server import Limits, Server

server = Server(limits=Limits(publish_rate=0.5, publish_burst=3))
anything = server.topic("anything", accepts=object)
