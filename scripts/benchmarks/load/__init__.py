"""The load generator; `python -m benchmarks.load --help` lists its scenarios."""
