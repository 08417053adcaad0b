"""All output formats of animations, by their suffixes. A new one needs a `Format` and a place in this list."""

from vae.render.formats.gif import GIF
from vae.render.formats.pillow_formats import AVIF, PNG, WEBP
from vae.render.formats.video import MP4, WEBM

FORMATS = {each.suffix: each for each in (GIF, MP4, WEBM, WEBP, PNG, AVIF)}
