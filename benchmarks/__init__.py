"""Benchmarks and simulations, which docs/ cites. Run one as `python -m benchmarks.cost`."""
