"""Features of a network that was trained on photographs, as a loss: reconstructions keep what such a network sees.

With f_l the maps of the network at four resolutions, each pixel's vector scaled to length 1,

    distance(x̂, x) = Σ_l mean_pixels ‖f_l(x̂) − f_l(x)‖²

The network is EfficientNet-Lite0 with weights from ImageNet, which come in a package, the extra `perceptual`: nothing
else is downloaded. It is no part of checkpoints.

Source: Zhang, Isola, Efros, Shechtman and Wang, *The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric*, CVPR 2018, section 3, without its learned weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae.metrics.efficientnet import efficientnet
from vae.model.networks import squash
from vae.training.losses.terms import LossInputs, LossTerm, gradient_ratio

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1]
_MAPS = 4
_LEAST_SIDE = 64


class FeatureMaps(nn.Module):
    """Maps of EfficientNet-Lite0, the last at each of its first four resolutions; its weights do not learn.

    Raises:
        UserError: it is not installed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        network = efficientnet(0, "perceptual")
        stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.layers = nn.ModuleList([stem, *network._blocks])
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures (N, C, H, W) in [-1, 1] → maps (N, C_l, H_l, W_l), vectors of length 1 at each pixel."""
        if x.shape[-1] < _LEAST_SIDE:
            x = F.interpolate(x, (_LEAST_SIDE, _LEAST_SIDE), mode="bilinear")
        h = (x.expand(-1, 3, -1, -1) / 2 + 0.5 - self.mean) / self.std
        maps: list[Tensor] = []
        for layer in self.layers:
            h = layer(h)
            if maps and h.shape[-1] == maps[-1].shape[-1]:
                maps.pop()
            elif len(maps) == _MAPS:
                break
            maps.append(h)
        return [F.normalize(each.float(), dim=1) for each in maps]


class Perceptual(LossTerm):
    """The distance of reconstructions from pictures, as the features of a network see it.

    Its weight is relative, see `gradient_ratio`: it draws the decoder so many times as strongly as the likelihood does.

    Args:
        weight: of the term.
    """

    name = "perceptual"

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self._network = (FeatureMaps(),)  # in a tuple, so that it is no part of the module's state

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """Logs the distance without its weight."""
        network = self._network[0].to(batch.x.device)
        leaf = batch.logits.detach().requires_grad_()
        with torch.no_grad():
            real = network(batch.x)
        pairs = zip(network(squash(leaf)), real, strict=True)
        distance = torch.stack([(drawn - of_x).square().sum(1).mean() for drawn, of_x in pairs]).sum()
        (gradient,) = torch.autograd.grad(distance, leaf)
        gradient = gradient * len(batch.x)  # of each picture's own distance
        scale = self.weight * gradient_ratio(batch, gradient)
        return scale / len(batch.x) * (gradient * batch.logits).sum(), {"perceptual_distance": distance.detach()}
