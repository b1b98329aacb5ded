"""The fan-out benchmark: penstock and its peers under one load, pair by pair in one run.

- ``machine``: cores, limits, and what machine this is.
- ``processes``: starting, pinning and ending processes; what they cost.
- ``contenders``: each server, penstock and its peers, and how it is started.
- ``client``: the client in C, ``benchmarks/client``, compiled here and run.
- ``trials``: one server under one load; servers in turn, medians over the rounds.
- ``rows``: what is compared, with the targets.
- ``report``: the tables, on the screen and in RESULTS.md.
- ``cli``: the command line.
"""
