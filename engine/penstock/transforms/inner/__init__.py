"""Transforms whose function gives a stream for each item: ``flat_map_async``, ``switch_map``."""
