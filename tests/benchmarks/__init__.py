"""Benchmarks: ratios of speed and memory."""

import os

import pytest

on_all_and_one = pytest.mark.parametrize("threads", [os.cpu_count() or 1, 1], indirect=True)
