"""The rows of the clients' benchmark; see `benchmarks.rows`."""
