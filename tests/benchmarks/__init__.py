"""Benchmarks: ratios of speed and memory."""

import os

import pytest

ALL = os.cpu_count() or 1
on_all_and_one = pytest.mark.parametrize("threads", [ALL, 1], indirect=True)
