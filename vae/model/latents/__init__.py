"""Coordinates of the latents: given, whitened, and drawn from the prior."""
