"""Layers between a picture and its smallest map, of each kind of network."""
