"""Notifications for each user: a topic per user, published to by the app's own code and by others.

    scripts/penstock serve examples/notifications.py

Open http://127.0.0.1:8000/notifications?user=ada. Place an order: a route publishes, and a job that
outlives the request publishes again when the order is packed. Any other program notifies her by
HTTP, once even where it has to try twice:

    curl -i http://127.0.0.1:8000/topics/notify.ada -H 'Content-Type: application/json' \
        -H 'Idempotency-Key: build-1729' -d '{"title": "Build 1729 failed", "level": "warning"}'

What to look at: the page keeps the cursor of what it got last in localStorage. Close it, send her a
few, open it again: they are there, unread, for as long as the topic retains them. The log is in
memory: after a restart of the server the page says that some may be missing.

Everybody may read everybody's here. With ``auth=JWT(...)`` a user's token says
``{"subscribe": ["notify.ada"]}``, and only your services' tokens have ``"publish"``.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import quart
import trio
from quart import Response

import penstock as ps
from penstock_server import Server

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,32}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


@dataclass(frozen=True)
class Notification:
    """What a user is told."""

    title: Text
    body: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    level: Literal["info", "success", "warning"] = "info"


@dataclass(frozen=True)
class Order:
    """What a user orders, and how long it takes to pack."""

    user: Name
    item: Text
    seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 3


server = Server(title="Notifications")

# A user who is away for a week finds what came meanwhile, and at most the last 200.
notify = server.topic(
    "notify.{user}", accepts=Notification, retain=200, idle=7 * 24 * 3600, max_instances=10_000
)


@server.job("pack", accepts=Order, detach=None)
def pack(placed: Order) -> ps.Stream[str]:
    """Pack an order: ``detach=None`` lets it end by itself, whoever waits for it."""
    return steps(placed)


@ps.producer
async def steps(placed: Order) -> AsyncIterator[str]:
    """What happens to an order; whoever reads the job's run sees these steps."""
    yield "packing"
    await trio.sleep(placed.seconds)
    told = Notification("On its way", f"{placed.item} has left the house.", "success")
    await notify.instance(user=placed.user).publish(told)
    yield "sent"


@server.app.post("/orders")
async def order() -> tuple[dict[str, str], int]:
    """Take an order: an ordinary route that publishes."""
    try:
        placed = msgspec.convert(await quart.request.get_json(), Order)
    except msgspec.ValidationError as fault:
        quart.abort(422, str(fault))
    told = Notification("Order received", f"We are packing: {placed.item}.")
    cursor = await notify.instance(user=placed.user).publish(told)
    return {"notification": str(cursor)}, 201


server.app.static_folder = Path(__file__).parent / "pages"


@server.app.get("/notifications")
async def page() -> Response:
    """The page; Quart serves its folder under /static."""
    return await server.app.send_static_file("notifications.html")
