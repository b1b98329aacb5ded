"""A type whose own check is broken: a fault of the server's, not of who publishes."""

from dataclasses import dataclass

from penstock_server import Server

server = Server()


@dataclass
class Broken:
    text: str

    def __post_init__(self) -> None:
        raise RuntimeError("the check itself is broken")


broken = server.topic("broken", accepts=Broken)
