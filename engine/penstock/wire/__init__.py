"""The wire layer: everything that clients and servers say, as values and bytes. No I/O, no Trio.

Layers, each knowing only those before it:

    cursor            positions in a log
    close_codes       why a WebSocket was closed
    sse               text/event-stream, both ways
    messages          the vocabulary of NDJSON, MessagePack and WebSocket
    plain             the values that may travel
    msgpack_format    MessagePack's headers, and lengths that are proved before they are believed
    codecs            messages and values as JSON and as MessagePack
    chat              a conversation with a language model
    openai            the same in OpenAI's format, as the client sees it
"""

from penstock.wire.chat import ChatDelta, ChatMessage, FinishReason, Role, ToolCallDelta, Usage
from penstock.wire.close_codes import CloseCode, may_reconnect
from penstock.wire.codecs import (
    JSON,
    MSGPACK,
    JsonCodec,
    MessageCodec,
    MsgpackCodec,
    Undecodable,
    encode_json,
    encode_msgpack,
)
from penstock.wire.cursor import (
    BadCursor,
    Cursor,
    cursor_text,
    from_base36,
    new_epoch,
    to_base36,
)
from penstock.wire.messages import (
    BadMessage,
    ClientMessage,
    ConnectionLimits,
    End,
    ErrorCode,
    ErrorMessage,
    Gap,
    GapReason,
    Hello,
    Keepalive,
    Ping,
    Pong,
    Publish,
    Published,
    Reconnect,
    Ref,
    ServerMessage,
    SlowPolicy,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    parse_client_message,
)
from penstock.wire.plain import MAX_DEPTH, NotPlain, Unencodable, normalise, require_plain
from penstock.wire.sse import (
    ProtocolError,
    ServerSentEvent,
    SSEDecoder,
    encode_comment,
    encode_event,
    event_block,
)

__all__ = [
    "JSON",
    "MAX_DEPTH",
    "MSGPACK",
    "BadCursor",
    "BadMessage",
    "ChatDelta",
    "ChatMessage",
    "ClientMessage",
    "CloseCode",
    "ConnectionLimits",
    "Cursor",
    "End",
    "ErrorCode",
    "ErrorMessage",
    "FinishReason",
    "Gap",
    "GapReason",
    "Hello",
    "JsonCodec",
    "Keepalive",
    "MessageCodec",
    "MsgpackCodec",
    "NotPlain",
    "Ping",
    "Pong",
    "ProtocolError",
    "Publish",
    "Published",
    "Reconnect",
    "Ref",
    "Role",
    "SSEDecoder",
    "ServerMessage",
    "ServerSentEvent",
    "SlowPolicy",
    "Subscribe",
    "Subscribed",
    "ToolCallDelta",
    "Undecodable",
    "Unencodable",
    "Unsubscribe",
    "Unsubscribed",
    "Usage",
    "cursor_text",
    "encode_comment",
    "encode_event",
    "encode_json",
    "encode_msgpack",
    "event_block",
    "from_base36",
    "may_reconnect",
    "new_epoch",
    "normalise",
    "parse_client_message",
    "require_plain",
    "to_base36",
]
