"""Latents → frames → animations, stills and pages: what render.py runs."""
