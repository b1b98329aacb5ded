"""How clients are spoken to: SSE, NDJSON, MessagePack streams, long poll, WebSocket, publishing.

Raw ASGI handlers, beside Quart: what they share is the log, the codecs and the fan-out.
"""
