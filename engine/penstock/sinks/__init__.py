"""Sinks, by family: what ``Stream.to`` takes."""
