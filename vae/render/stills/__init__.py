"""Stills: pictures beside each other with captions."""
