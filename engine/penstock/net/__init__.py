"""Clients of a penstock server. Needs the extra ``net``: ``pip install 'penstock[net]'``.

resuming     reading a log through lost connections: cursor, backoff, ends; any transport
ndjson       the transport ``application/x-ndjson``, over httpx
"""
