"""Benchmarks: ratios of speed and memory."""
