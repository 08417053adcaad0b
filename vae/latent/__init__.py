"""Keyframes → path (where) → timing (when) → latents: pure functions."""
