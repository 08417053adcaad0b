"""Checks and measurements for a GPU; each runs on a CPU too, small, so that it stays true."""
