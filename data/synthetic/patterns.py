"""`patterns`: an endless family of fabric-like colour patterns, made for morphing.

Every picture is a function of thirteen uniform factors, and a small step in any factor is a small step in the picture:
there are no kinds to jump between. A tile is folded into [-1, 1]²; in it a motif is a level set of a radius

    rho(u, v) = (|u|^p + |v|^p)^(1/p) · (1 + petal · cos 8θ)

whose norm exponent p runs from star (p < 1) over diamond (1) and disc (2) towards square, while `aspect` opens it
into bands. The ground, the motif, its outline and the corner motif take four OKLCH colours (Ottosson, *A perceptual
color space for image processing*, 2020) whose hues stay within arcs of 150°, so that no blend of two palettes is grey.
"""

import math

import torch
from torch import Tensor

from data.rng import uniform

FACTORS = (
    *("frequency", "exponent", "petals", "aspect", "twist", "radius", "ring", "dot", "corner"),
    *("ground_hue", "ground_lightness", "motif_hue", "outline_hue"),
)


def oklch_to_srgb(lightness: Tensor, chroma: Tensor, hue: Tensor) -> Tensor:
    """OKLCH to gamma-encoded sRGB (Ottosson 2020), out-of-gamut values clipped: any shape (...) → (..., 3) in [0, 1].

    Lightness is in [0, 1]; a chroma of 0 is grey and about 0.3 the strongest; hue is in radians.
    """
    a, b = chroma * torch.cos(hue), chroma * torch.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    rgb = torch.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        dim=-1,
    ).clamp(0, 1)
    return torch.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb.clamp_min(1e-9) ** (1 / 2.4) - 0.055)


def _palette(ground_hue: Tensor, lightness: Tensor, motif_hue: Tensor, outline_hue: Tensor) -> list[Tensor]:
    """The colours of ground, corner, outline and motif, each (N, 3, 1, 1)."""
    flat = torch.ones_like(ground_hue)
    colours = [
        oklch_to_srgb(lightness, 0.11 * flat, ground_hue),
        oklch_to_srgb(lightness + 0.22, 0.13 * flat, ground_hue + 0.45),
        oklch_to_srgb(0.66 * flat, 0.18 * flat, outline_hue),
        oklch_to_srgb(0.88 * flat, 0.11 * flat, motif_hue),
    ]
    return [colour.movedim(-1, 1) for colour in colours]


def draw_patterns(factors: Tensor, size: int) -> Tensor:
    """Draws what factors (N, 13) in [0, 1], in the order of `FACTORS`, describe → (N, size, size, 3) in [0, 1].

    A picture is the same at every size but for its edges, about two pixels wide.
    """
    columns = iter(factors.to(torch.float32).t()[..., None, None])

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * next(columns)

    frequency, exponent = between(1, 2), 1 / between(0.3, 1.25)
    petals, aspect, twist = between(-0.2, 0.2), between(-1, 1), between(-0.75, 0.75)
    radius, ring, dot, corner = between(0.45, 1), between(0.06, 0.26), between(0, 0.65), between(0, 0.6)
    ground_hue, lightness = math.pi / 180 * between(212, 362), between(0.26, 0.46)
    motif_hue, outline_hue = math.pi / 180 * between(45, 135), math.pi / 180 * between(-22, 108)
    ground_colour, corner_colour, outline_colour, motif_colour = _palette(ground_hue, lightness, motif_hue, outline_hue)

    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    u, v = (frequency * x + 1) % 2 - 1, (frequency * y + 1) % 2 - 1
    angle = twist * (1 - u * u - v * v).clamp_min(0)  # fades out towards the tile's edge, so that tiles still meet
    cos, sin = angle.cos(), angle.sin()
    u, v = u * cos + v * sin, v * cos - u * sin

    stretch = aspect.sign() * aspect**2
    weight_u, weight_v = 1 - stretch.clamp_min(0), 1 - (-stretch).clamp_min(0)

    def norm(a: Tensor, b: Tensor) -> Tensor:
        return ((weight_u * a + 1e-3) ** exponent + (weight_v * b + 1e-3) ** exponent) ** (1 / exponent)

    rho = norm(u.abs(), v.abs()) * (1 + petals * (1 - stretch.abs()) * torch.cos(8 * torch.atan2(v, u)))
    rho_corner = norm((1 - u.abs()).clamp_min(0), (1 - v.abs()).clamp_min(0))

    image = ground_colour
    edge_width = 1.4 * frequency / size
    for inside, colour in (
        (corner - rho_corner, corner_colour),
        (radius - rho, outline_colour),
        (radius - ring - rho, motif_colour),
        (dot * (radius - ring) - 0.03 - rho, ground_colour),
    ):
        image = torch.lerp(image, colour, torch.sigmoid(inside / edge_width)[:, None])
    return image.movedim(1, -1)


def patterns(seed: int, indices: Tensor, size: int) -> Tensor:
    """Images `indices` of the family with this seed: (N,) int64 → (N, size, size, 3) uint8."""
    factors = uniform(seed, indices, len(FACTORS))
    return (draw_patterns(factors, size) * 255).round().to(torch.uint8).contiguous()
