"""The verdict on a model that has been trained: what was measured of it, in words, and what would improve it."""

import math
from collections.abc import Mapping

_SOFT, _SHARP = 0.6, 0.85  # of the sharpness of the pictures
_FEW = 0.1  # of the latents
_BY_HEART = 0.5  # bits per value that training pictures are described better than others


def _word(sharpness: float) -> str:
    return "soft" if sharpness < _SOFT else "sharp" if sharpness >= _SHARP else "fairly sharp"


def verdict(
    numbers: Mapping[str, float], latent_dim: int, dims: int, minutes: float | None = None, varied: bool = False
) -> str:
    """One line about the numbers of the last validation; empty if they were not measured.

    Args:
        numbers: by their names in the log.
        latent_dim: how many latents there are.
        dims: values in a picture, C · H · W.
        minutes: that the training had, None if it was planned otherwise.
        varied: whether training pictures were mirrored or moved.

    >>> numbers = {"reconstruction/sharpness": 0.41, "smoothness/sharp_mid/slerp": 0.9, "val/active_units": 70}
    >>> verdict(numbers, 128, 3072, 5).partition(": ")[::2]  # doctest: +NORMALIZE_WHITESPACE
    ('Reconstructions are soft (41% of your pictures), morphs sharp (90%), 70 of 128 latents used',
     'train longer, --minutes 20')
    >>> numbers |= {"train/elbo": 9000.0, "val/elbo": 5000.0}
    >>> verdict(numbers, 128, 3072, 5).partition(": ")[2].partition(": ")[::2]  # doctest: +NORMALIZE_WHITESPACE
    ('training pictures are known by heart (1.9 bits a value better than others)',
     'more pictures help, not more time; unless they show text, try --data.mirror true --data.shift 0.05')
    >>> verdict({}, 128, 3072)
    ''
    """
    try:
        rebuilt, morphs = numbers["reconstruction/sharpness"], numbers["smoothness/sharp_mid/slerp"]
        active = int(numbers["val/active_units"])
    except (KeyError, ValueError):
        return ""
    advice = ""
    by_heart = (numbers.get("train/elbo", math.nan) - numbers.get("val/elbo", math.nan)) / (dims * math.log(2))
    if active < _FEW * latent_dim:
        advice = ": the latents say little, lower --model.beta"
    elif by_heart > _BY_HEART:
        advice = f": training pictures are known by heart ({by_heart:.1f} bits a value better than others): "
        advice += "more pictures help, not more time"
        advice += "" if varied else "; unless they show text, try --data.mirror true --data.shift 0.05"
    elif rebuilt < _SOFT:
        advice = f": train longer, --minutes {4 * minutes:g}" if minutes else ": train longer"
    elif morphs < _SOFT:
        advice = ": for sharper morphs render with route, or train with a higher --model.beta"
    sharpness = f"{_word(rebuilt)} ({rebuilt:.0%} of your pictures), morphs {_word(morphs)} ({morphs:.0%})"
    return f"Reconstructions are {sharpness}, {active} of {latent_dim} latents used{advice}"
