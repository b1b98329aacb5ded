"""A server that puts penstock streams on the web: SSE, NDJSON, MessagePack, WebSocket.

The layers, low to high::

    settings, wake, aside          what can be set; waiting; work that would hold up the loop
    counters, loop_delay, process  what is counted and measured
    redaction, logs                the process's log, without secrets
    log                            events with offsets, read through cursors
    grants, auth                   what a client may do; by which token it may
    rate, refusals, idempotency    how fast a client publishes; why not; and what it sends twice
    encoding, bookmarks            values to bytes; where a restart goes on
    audience, keys, schemas        who reads a topic; keys and schemas of events
    origins, resources             what ``cors=`` lists; what pipelines share
    fanout                         one log to many connections
    options, reading               what a topic can be told; a topic as a stream
    topics, templates, catalogue   a log and what feeds it; families of them; finding them
    jobs                           a pipeline per request, and its runs
    compat                         chat models, and how clients of other APIs talk to them
    declaring, supervisor          a name and options, checked; a pipeline that keeps running
    lifecycle                      pipelines start and end in order; idle topics are dropped
    hub, publishing, stats         a running server, its publications, what it says of itself
    transports                     SSE, NDJSON, MessagePack, long poll, WebSocket, POST
    access_log, metrics, asyncapi  a line for each answer; Prometheus; the topics described
    admission, guarded_routes      who is let in, to what
    job_routes, compat_routes      the requests under /jobs; those of other APIs
    operations, web_files          the routes of those two; the console, ``client.js``
    watching                       ``/stats`` as a stream
    lifespan                       all of it started, and ended, in order
    app                            the ASGI application: wires it all; Quart beside it
    server, commands               what users declare; ``penstock serve``
    reload                         ``--reload``: a running server follows its file
    testing                        a server in a test, in memory or on a port

Importing this package imports no web stack.
"""

from .auth import JWT, ApiKeys
from .compat import ChatModel
from .encoding import Event
from .grants import Grant
from .jobs import Job
from .server import Server
from .settings import Limits, Timing
from .templates import TooManyTopics
from .topics import Topic

__all__ = [
    "JWT",
    "ApiKeys",
    "ChatModel",
    "Event",
    "Grant",
    "Job",
    "Limits",
    "Server",
    "Timing",
    "TooManyTopics",
    "Topic",
]
