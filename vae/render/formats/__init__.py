"""Frames → files, one format each."""
