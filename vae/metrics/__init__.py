"""What is measured of a model, a path, an animation."""
