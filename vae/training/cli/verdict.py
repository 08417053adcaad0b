"""The verdict on a model that has been trained: what was measured of it, in words, and what would improve it."""

from collections.abc import Mapping

_SOFT, _SHARP = 0.6, 0.85  # of the sharpness of the pictures
_FEW = 0.1  # of the latents
_MANY = 1000  # pictures


def _word(sharpness: float) -> str:
    return "soft" if sharpness < _SOFT else "sharp" if sharpness >= _SHARP else "fairly sharp"


def verdict(numbers: Mapping[str, float], latent_dim: int, minutes: float | None, pictures: int = _MANY) -> str:
    """One line about the numbers of the last validation; empty if they were not measured.

    Args:
        numbers: by their names in the log.
        latent_dim: how many latents there are.
        minutes: that the training had, None if it was planned otherwise.
        pictures: how many it learned from, unless they were varied.

    >>> numbers = {"reconstruction/sharpness": 0.41, "smoothness/sharp_mid/slerp": 0.9, "val/active_units": 70}
    >>> verdict(numbers, 128, 5).partition(": ")[::2]  # doctest: +NORMALIZE_WHITESPACE
    ('Reconstructions are soft (0.41 of your pictures), morphs sharp (0.90), 70 of 128 latents used',
     'train longer, --minutes 20')
    >>> verdict(numbers, 128, 5, 300)[-36:]
    '--data.mirror true --data.shift 0.05'
    >>> verdict({}, 128, 5)
    ''
    """
    try:
        rebuilt, morphs = numbers["reconstruction/sharpness"], numbers["smoothness/sharp_mid/slerp"]
        active = int(numbers["val/active_units"])
    except (KeyError, ValueError):
        return ""
    advice = ""
    if active < _FEW * latent_dim:
        advice = ": the latents say little, lower --model.beta"
    elif rebuilt < _SOFT:
        advice = f": train longer, --minutes {4 * minutes:g}" if minutes else ": train longer"
    elif morphs < _SOFT:
        advice = ": for sharper morphs render with route, or train with a higher --model.beta"
    if pictures < _MANY:
        advice += f"; {pictures} pictures are few: unless they show text, try --data.mirror true --data.shift 0.05"
    sharpness = f"{_word(rebuilt)} ({rebuilt:.2f} of your pictures), morphs {_word(morphs)} ({morphs:.2f})"
    return f"Reconstructions are {sharpness}, {active} of {latent_dim} latents used{advice}"
