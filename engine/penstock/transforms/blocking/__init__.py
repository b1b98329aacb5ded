"""``map_blocking``: calls of blocking or CPU-bound functions, on threads or on processes.

A hand-over to a thread or a process costs 100 µs or more, so items go in groups of 10 or
25 ms of work, found by measuring. The groups pass through the pool of `_call_pool`, so
results keep their order and what is in flight is bounded.
"""
