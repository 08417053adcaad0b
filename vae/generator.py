"""Models that decode latents: a VAE, or any other whose latents are drawn from Normal(0, I)."""

from functools import partial
from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from data.rng import check_seed
from data.system.errors import UserError
from data.system.spelling import suggest
from vae.model.vae import VAE

_SHOWN = 10  # names of classes in a message


class Generator(Protocol):
    """A model that turns latents into pictures.

    Attributes:
        latent_dim: D.
        image_size: H and W.
        channels: C, 1 or 3.
    """

    latent_dim: int
    image_size: int
    channels: int

    @property
    def device(self) -> torch.device:
        """The device of the latents that `decode` and `zero_inactive` take."""

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) → (N, C, H, W) in [-1, 1]."""

    def zero_inactive(self, values: Tensor) -> Tensor:
        """(…, D) with 0 for inactive latents."""


def has_encoder(model: Generator) -> TypeGuard[VAE]:
    """True if it encodes pictures too, as a VAE does."""
    return hasattr(model, "encode")


def seeded_latents(seed: int, count: int, latent_dim: int) -> Tensor:
    """The first `count` latents (count, D) that a seed draws from the prior; more of them do not change the first."""
    generator = torch.Generator().manual_seed(check_seed(seed))
    return torch.stack([torch.randn(latent_dim, generator=generator) for _ in range(count)])


def zero_inactive(model: Generator, z: Tensor) -> Tensor:
    """Latents (…, D) on their own device, with 0 for the model's inactive ones."""
    return model.zero_inactive(z.to(model.device)).to(z.device)


def prior_latents(
    model: Generator, seed: int, count: int, truncation: float = 1.0, class_name: str | None = None
) -> Tensor:
    """The first latents (count, D) that a seed draws, on the CPU, see `VAE.random_latents`.

    Truncation multiplies them: less than 1 is closer to the mean picture (Karras 2019, appendix B). Those of a class
    are of the same noise as those of any other. Raises `UserError` if the model has no such class.
    """
    noise = seeded_latents(seed, count, model.latent_dim)
    carried = model.random_latents if has_encoder(model) else model.zero_inactive
    if class_name is not None:
        vae, number = _find_class(model, class_name)
        carried = partial(vae.random_latents, classes=torch.tensor([number], device=vae.device))
    with torch.no_grad():
        z = torch.cat([carried(one.to(model.device)).to(noise.device) for one in torch.split(noise, 1)])
    return truncation * z


def _find_class(model: Generator, name: str) -> tuple[VAE, int]:
    """The model and the number of its class of that name; raises `UserError` if it has none, or not yet."""
    names = model.config.classes if has_encoder(model) else ()
    if not has_encoder(model) or not names:
        raise UserError(f"--class {name}: the model has no classes; train one with --data.labels folders")
    if name not in names:
        some = f"there are {', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UserError(f"--class {name}: the model has no such class; {suggest(name, names, some)}")
    if model.flow is None or not model.flow.fitted > 0:
        raise UserError(f"--class {name}: classes are learnt when the decoder's phase begins; train the model further")
    return model, names.index(name)
