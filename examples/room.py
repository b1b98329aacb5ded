"""Chat rooms with history: a template of topics that clients publish to themselves.

    scripts/penstock serve examples/room.py

Open http://127.0.0.1:8000/room in two windows. There is no code for the chat on this side: a topic
that accepts `Message` validates, stores and delivers, and one WebSocket takes all rooms both ways.

What to look at: a message is shown while it is on its way, and again as it is stored; stop the
server, write on, and start it: what you wrote waits in the page, then goes out in order, once each.
A room is there from its first use, with the last 500 messages for those who come later:

    curl 'http://127.0.0.1:8000/topics/room.lobby?format=json&after=earliest'
    curl http://127.0.0.1:8000/topics/room.lobby -H 'Content-Type: application/json' \
        -d '{"name": "curl", "text": "hello"}'

Names are whatever the client says. With ``auth=``, let a derived topic put the name there: clients
publish to one topic, and read another whose pipeline adds what the server knows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from quart import Response

from penstock_server import Limits, Server


@dataclass(frozen=True)
class Message:
    """What somebody says; what doesn't fit is refused, with the field that is wrong."""

    name: Annotated[str, Meta(min_length=1, max_length=30)]
    text: Annotated[str, Meta(min_length=1, max_length=1000)]


server = Server(title="Chat rooms", limits=Limits(publish_rate=20, publish_burst=40))

rooms = server.topic("room.{room}", accepts=Message, retain=500, idle=24 * 3600, max_instances=1000)


server.app.static_folder = Path(__file__).parent / "pages"


@server.app.get("/room")
async def page() -> Response:
    """The page; Quart serves its folder under /static."""
    return await server.app.send_static_file("room.html")
