"""The rows of the engine's benchmark; see `benchmarks.rows`."""
