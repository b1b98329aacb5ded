"""Clients of a penstock server, with the extra ``net``: ``pip install '.[net]'`` in its checkout.

Four rooms, none of which knows another:

over_http       reading a server's log over HTTP: ``events`` and ``job``
over_websocket  reading topics over one WebSocket: ``websocket``
publishing      publishing to a topic: ``publisher``, and ``publish`` for pipelines
chat            models elsewhere: ``openai_chat`` and ``openai_models``

and what they share:

options         the options that all clients have, checked before anything runs
http            what every HTTP client here needs
failures        what went wrong, in words
waiting         how long to wait before another attempt
losses          why it can't go on: for good, or until another attempt
received        what a reader gets
"""

from .chat.openai import OpenAIChat, openai_chat, openai_models
from .chat.upstream import UpstreamError
from .losses import ConnectionLost, Loss, Refused
from .over_http.producers import events, job
from .over_websocket.producer import websocket
from .over_websocket.session import SubscriptionRefused
from .publishing.encoding import NotPublishable
from .publishing.publisher import Publisher, publisher
from .publishing.report import Acknowledgement, ItemRefused, PublishReport
from .publishing.sink import publish
from .received import Event, Gap

__all__ = [
    "Acknowledgement",
    "ConnectionLost",
    "Event",
    "Gap",
    "ItemRefused",
    "Loss",
    "NotPublishable",
    "OpenAIChat",
    "PublishReport",
    "Publisher",
    "Refused",
    "SubscriptionRefused",
    "UpstreamError",
    "events",
    "job",
    "openai_chat",
    "openai_models",
    "publish",
    "publisher",
    "websocket",
]
