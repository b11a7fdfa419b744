"""Benchmarks: each runs small in the suite so that it cannot rot, and large by hand."""
