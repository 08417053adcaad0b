"""Computed pictures: the families `patterns` and `lines`."""
