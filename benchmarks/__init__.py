"""Benchmarks of what the user waits for: `python -m benchmarks.NAME [--json OUT]`."""
