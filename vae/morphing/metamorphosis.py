"""Metamorphosis: pictures that move into one another and change their colours on the way.

Between pictures a and b, with v the flow from a to b and f ∈ [0, 1] the share of the way,

    frame(f) = (1 − m) · a^{fv} + m · b^{−(1−f)v},    m = smoothstep((f − ½ + 0.1 · lead) / 0.8 + ½)

mixed as `vae.morphing.dissolve` says, so that both are where they meet, and few details are seen twice. A model says
where the dissolve begins: lead = (e_a − e_b) / (e_a + e_b + 0.02) ∈ (−1, 1) is how much nearer the picture x that it
draws at f is to the moved b than to the moved a, e being blurred squared differences. At f = 0 and f = 1 the frames are
a and b themselves.

Source of the word: Trouvé and Younes, *Metamorphoses through Lie group action*, Foundations of Computational
Mathematics 5(2), 2005.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.transforms import to_tensor
from vae.latent.paths import locate
from vae.model.blur import blur
from vae.model.tuned_decoder import smoothstep
from vae.morphing.dissolve import dissolved
from vae.morphing.flow import displaced, displacement
from vae.morphing.registration import ground, register, stands_on_plain_ground

_DISSOLVE, _LEAD = 0.8, 0.1  # of the way; half the first and the second are ½ at most, so that both ends are whole
_BLUR = 1 / 8  # of the side
ALIKE = 0.02  # of differences that are none to the eye


@dataclass(frozen=True)
class Metamorphosis:
    """Frames between the pictures of keyframes.

    Attributes:
        pictures: (S + 1, H, H, C) uint8; of a loop the first is again the last.
        flows: (S, 2, G, G), from each to the next, see `flows_between`.
        resample: `lanczos`, or `nearest` for hard pixels, which are moved whole.
        plain: which of the pictures stand on a plain ground; it is looked up if it is not given.
    """

    pictures: Tensor
    flows: Tensor
    resample: str = "lanczos"
    plain: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.plain:
            plain = tuple(stands_on_plain_ground(to_tensor(picture[None])) for picture in self.pictures)
            object.__setattr__(self, "plain", plain)  # as all fields of a frozen one are set

    def drawn(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Frames at times (T,) where a model draws the pictures x (T, C, H, H).

        Returns:
            the frames (T, C, H, H) in [-1, 1], and the shares m (T, 1, H, H) that the next keyframe has in them.
        """
        frames, shares = [], []
        for time, seen in zip(t, x, strict=True):
            k, passed = self._place(time)
            a, b = self._moved(k, passed)
            share = _share(passed, a, b, seen[None])
            frames.append(_between(a, b, share))
            shares.append(share)
        return torch.cat(frames), torch.cat(shares)

    def mixed(self, time: Tensor, share: Tensor) -> Tensor:
        """The frame (C, H, H) at a time () with a share (1, h, h) that `drawn` found at another size."""
        a, b = self._moved(*self._place(time))
        return _between(a, b, share[None])[0]

    def _place(self, time: Tensor) -> tuple[int, float]:
        segment, passed = locate(time, len(self.flows))
        return int(segment), float(passed)

    def _moved(self, k: int, passed: float) -> tuple[Tensor, Tensor]:
        """The pictures of keyframes k and k + 1, moved to where they are when a share of the way has passed."""
        flow, ends = self.flows[k][None], to_tensor(self.pictures[k : k + 2])[:, None]
        a = moved(ends[0], passed * flow, self.plain[k], self.resample)
        return a, moved(ends[1], (passed - 1) * flow, self.plain[k + 1], self.resample)


def moved(x: Tensor, velocity: Tensor, plain: bool, resample: str = "lanczos") -> Tensor:
    """x^v, a picture (1, C, H, H) that went along a velocity (1, 2, G, G).

    What comes in from outside is the picture's plain ground, if it has one, or else the picture reflected.
    """
    u, mode = displacement(-velocity), "nearest" if resample == "nearest" else "bicubic"
    if plain:
        colour = ground(x)
        return (displaced(x - colour, u, mode, "zeros") + colour).clamp(-1, 1)
    return displaced(x, u, mode, "reflection").clamp(-1, 1)


def flows_between(pictures: Tensor, progress: Callable[[range], Iterable[int]] = iter) -> Tensor:
    """The flow from each picture (S + 1, C, H, H) in [-1, 1] to the next: (S, 2, G, G)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # pictures are too small to share: beside other programs, threads wait for each other
    try:
        pairs = progress(range(len(pictures) - 1))
        return torch.cat([register(pictures[k : k + 1], pictures[k + 1 : k + 2]) for k in pairs])
    finally:
        torch.set_num_threads(threads)


def difference(a: Tensor, x: Tensor) -> Tensor:
    """Blurred squared differences (N, 1, H, H) of pictures (N, C, H, H) from others."""
    return blur((x - a).square().mean(1, keepdim=True), _BLUR * x.shape[-1])


def _between(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """A frame (1, C, H, H) of which b has a share (1, 1, h, h)."""
    return dissolved(torch.cat([a, b]), torch.cat([1 - share, share]))


def _share(passed: float, a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """m, (1, 1, H, H), of pictures (1, C, H, H)."""
    e_a, e_b = difference(a, x), difference(b, x)
    lead = (e_a - e_b) / (e_a + e_b + ALIKE)
    return smoothstep((passed - 0.5 + _LEAD * lead) / _DISSOLVE + 0.5)
