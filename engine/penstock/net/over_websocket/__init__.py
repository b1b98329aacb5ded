"""Reading topics over one WebSocket: ``websocket``.

frames       what a server says in a frame: bytes to messages
session      what to do about each message and each loss
silence      when silence is death
stream       the stream beneath, and where it goes
connection   one connection: opened, listened to, closed
options      the options that a user writes, checked
producer     ``websocket``: topics over one WebSocket that comes back
"""
