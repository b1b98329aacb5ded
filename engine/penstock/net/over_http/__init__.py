"""Reading a server's log over HTTP: ``events`` and ``job``.

position     where in a log a reader is, and what that makes of what the server says
formats      event streams, NDJSON and MessagePack: bytes to what the server says
resuming     reading a log through lost connections
answers      what an HTTP answer means to a reader, before its body is read
request      one log over HTTP: how it is asked for, and asked for again
producers    ``events`` and ``job``: a server's log as a stream
"""
