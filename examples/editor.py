"""A text that many edit at once: the last writer of a paragraph wins.

    scripts/penstock serve examples/editor.py

Open http://127.0.0.1:8000/editor in two windows, side by side, and write in both.

How it works: a document is a keyed topic, and each event in it is one paragraph as somebody left
it: its text, or None where it was deleted, and its place among the others. The log's order decides
who was last, so no clock is asked: every page keeps, of each paragraph, the event with the highest
offset, and so all show the same. Reading with ``slow="conflate"`` gives the newest event of each
paragraph, and not its history. A place is a text that sorts between those of its neighbours ("g"
between "a" and "m"), so that a new paragraph never renumbers the others.

Who is there is a pipeline: pages say every few seconds where they are, and whoever hasn't for a
while is gone.

What it does not do: merge what two people write in the same paragraph at the same time. One of the
two texts wins, whole. Where that is not enough, use a CRDT such as Yjs, whose updates are events of
a topic like any others. A document is in memory, and has up to 1,000 paragraphs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import trio
from msgspec import Meta
from quart import Response

import penstock as ps
from penstock_server import Server

GONE_AFTER = 10.0
AT_MOST_THERE = 100

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph as somebody left it.

    Attributes:
        id: which one; the topic's key.
        place: paragraphs are sorted by this, as text.
        text: what it says; None where it was deleted.
    """

    id: Id
    place: Annotated[str, Meta(pattern=r"^[a-z]{1,100}$")]
    text: Annotated[str, Meta(max_length=10_000)] | None


@dataclass(frozen=True)
class Beat:
    """A sign of life. `paragraph` is where somebody is writing; None for nowhere."""

    who: Id
    name: Annotated[str, Meta(min_length=1, max_length=30)]
    paragraph: Id | None = None


server = Server(title="Collaborative editor")

documents = server.topic(
    "text.{document}", accepts=Paragraph, key="id", slow="conflate", retain=1000, idle=24 * 3600
)
beats = server.topic("beat.{document}", accepts=Beat, key="who", retain_seconds=GONE_AFTER)


@server.topic("there.{document}", retain=1, start="demand")
def there(document: str) -> ps.Stream[list[Beat]]:
    """Who is there, each time that changes."""
    return beats.instance(document=document).values().merge(ps.every(1)).via(still_there)


@ps.transform
async def still_there(receive: ps.Receiver[Beat | int], send: ps.Sender[list[Beat]]) -> None:
    """Keep everybody's newest beat until it is too old."""
    last: dict[str, tuple[float, Beat]] = {}
    shown: list[Beat] | None = None
    async for beat in receive:
        now = trio.current_time()
        if isinstance(beat, Beat) and (beat.who in last or len(last) < AT_MOST_THERE):
            last[beat.who] = now, beat
        last = {who: (at, each) for who, (at, each) in last.items() if at > now - GONE_AFTER}
        present = [each for _, each in last.values()]
        if present != shown:
            await send(present)
            shown = present


server.app.static_folder = Path(__file__).parent / "pages"


@server.app.get("/editor")
async def page() -> Response:
    """The page; Quart serves its folder under /static."""
    return await server.app.send_static_file("editor.html")
