"""`VAEConfig`: the arguments of `VAE`, and their defaults."""

from dataclasses import dataclass, fields
from typing import Literal

from vae.model.likelihoods import LikelihoodName
from vae.model.networks import NetworkName

PriorName = Literal["normal", "flow"]
_SIZES = ("image_size", "channels", "latent_dim", "width")


@dataclass(frozen=True)
class VAEConfig:
    """The arguments that a `VAE` was built with; see there what they are. Trainings have the same defaults.

    >>> print(VAEConfig(latent_dim=16, palette=5))
    VAE(image_size=64, channels=3, latent_dim=16, width=64, palette=5)
    """

    image_size: int = 64
    channels: int = 3
    latent_dim: int = 128
    width: int = 64
    network: NetworkName = "strided"
    likelihood: LikelihoodName = "laplace"
    sigma: float | None = None
    palette: int = 0
    whiten: bool = True
    pca_share: float = 0.0
    inactive_below: float = 0.1
    prior: PriorName = "flow"
    classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The constructor call in Python: the sizes, and what differs from the defaults."""
        given = [(field, getattr(self, field.name)) for field in fields(self)]
        words = (f"{field.name}={value!r}" for field, value in given if field.name in _SIZES or value != field.default)
        return f"VAE({', '.join(words)})"
