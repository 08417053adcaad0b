"""Pictures between any number of pictures: each moves towards all the others, by their weights.

With v_ij the flow from picture i to picture j and weights w_i ≥ 0 that add up to 1,

    frame(w) = Σ_i m_i · a_i^{v_i},    v_i = Σ_j w_j · v_ij,    m_i ∝ w_i⁴ / (e_i + 0.02)

with the contrast that `vae.morphing.dissolve` restores, so that all are where they meet, and few are seen at once; e_i
are the blurred squared differences between the moved picture and the one that a model draws there. Where one weight is
1, the frame is that picture.
"""

from collections.abc import Callable, Iterable
from itertools import combinations

import torch
from torch import Tensor

from vae.morphing.dissolve import dissolved
from vae.morphing.metamorphosis import ALIKE, difference, moved
from vae.morphing.registration import register, stands_on_plain_ground

_SHARPNESS = 4

Pair = tuple[int, int]


def flows_among(pictures: Tensor, progress: Callable[[list[Pair]], Iterable[Pair]] = iter) -> Tensor:
    """The flow from each of pictures (K, C, H, H) in [-1, 1] to each other: (K, K, 2, G, G).

    Progress wraps the pairs.
    """
    pairs = list(combinations(range(len(pictures)), 2))
    found = {(i, j): register(pictures[i : i + 1], pictures[j : j + 1])[0] for i, j in progress(pairs)}
    still = torch.zeros_like(next(iter(found.values())))
    both = found | {(j, i): -flow for (i, j), flow in found.items()}
    return torch.stack(
        [torch.stack([both.get((i, j), still) for j in range(len(pictures))]) for i in range(len(pictures))]
    )


def barycentric(pictures: Tensor, flows: Tensor, weights: Tensor, x: Tensor) -> Tensor:
    """The frames of weights (N, K) where a model draws the pictures x (N, C, H, H): (N, C, H, H) in [-1, 1].

    Args:
        pictures: (K, C, H, H) in [-1, 1].
        flows: (K, K, 2, G, G), see `flows_among`.
        weights: (N, K), 0 or more; of each frame they add up to 1.
        x: in [-1, 1].
    """
    plain, frames = [stands_on_plain_ground(picture[None]) for picture in pictures], []
    for w, seen in zip(weights.float(), x, strict=True):
        there = torch.cat(
            [
                moved(picture[None], torch.einsum("j,jcgh->cgh", w, flow)[None], on_ground)
                for picture, flow, on_ground in zip(pictures, flows, plain, strict=True)
            ]
        )
        shares = w[:, None, None, None] ** _SHARPNESS / (difference(there, seen.expand_as(there)) + ALIKE)
        frames.append(dissolved(there, shares / shares.sum(0)))
    return torch.cat(frames)
