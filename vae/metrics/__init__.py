"""Measurements of a model, a path, an animation."""
