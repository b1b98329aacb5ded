"""Clients of a penstock server. Needs the extra ``net``: ``pip install 'penstock[net]'``.

received     what a reader gets
losses       why reading can't go on: for good, or until another attempt
position     where in a log a reader is, and what that makes of what the server says
resuming     reading a log through lost connections, whatever the transport
formats      event streams, NDJSON and MessagePack: bytes to what the server says
failures     what went wrong, in words
http         what every HTTP client here needs
log_request  one log over HTTP: how it is asked for, and asked for again
reading      ``events`` and ``job``: a server's log as a stream
websocket_frames, websocket_session, websocket_silence, websocket_stream, websocket_connection,
websocket_options
             a WebSocket reader's parts: bytes to messages, what to do about each, when silence is
             death, the stream beneath, one connection, the options that a user writes
websocket_reading
             ``websocket``: topics over one WebSocket that comes back
offline_queue, publishing_report, publishing_policy, publishing_settings, publishing_encoding,
publishing_http
             a publisher's parts: what waits, what became of it, what to do about each answer, the
             options, items to bytes, one request
publishing   ``publisher``: publishing, for applications
publishing_sink
             ``publish``: publishing, for pipelines
upstream     an HTTP request to somebody else's server, tried again where that helps
openai       a model behind OpenAI's API, as a producer of its answer
"""

from .losses import ConnectionLost, Loss, Refused
from .openai import OpenAIChat, UpstreamError, openai_chat, openai_models
from .publishing import Publisher, publisher
from .publishing_encoding import NotPublishable
from .publishing_report import Acknowledgement, ItemRefused, PublishReport
from .publishing_sink import publish
from .reading import events, job
from .received import Event, Gap
from .websocket_reading import websocket
from .websocket_session import SubscriptionRefused

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
