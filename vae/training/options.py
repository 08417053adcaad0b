"""The options of a training: each is a field of a frozen dataclass, with its default, its range and its help.

A new option is one new field, in the group that uses it: the command line shows it as `--model.<name>`, checkpoints and
config.yaml keep it, and `column=True` makes it a column of TensorBoard's table of runs.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from data.system.errors import UserError
from vae.model.config import PriorName, VAEConfig
from vae.model.likelihoods import LikelihoodName
from vae.model.networks import NetworkName

_MOST = 1e30  # within float32, squares apart
_COLUMN = {"column": True}  # of a field whose range somebody else checks


def _option(default: Any, *, share: bool = False, column: bool = False) -> Any:
    """A field for a number of 0 or more; a share is below 1."""
    return field(default=default, metadata={"limit": 1 if share else _MOST, "column": column})


@dataclass(frozen=True, kw_only=True)
class _Options:
    def __post_init__(self) -> None:
        for each in fields(self):
            limit, value = each.metadata.get("limit"), getattr(self, each.name)
            if limit is not None and not 0 <= value < limit:
                allowed = "from 0 to below 1" if limit == 1 else "0 or more, within float32"
                raise UserError(f"{each.name} {value}: must be {allowed}")


@dataclass(frozen=True, kw_only=True)
class VAEOptions(_Options):
    """The arguments of `VAE`.

    Args:
        image_size: side of the images in pixels; the data says it.
        channels: 1 or 3; the data says it.
        latent_dim: D, how many numbers describe a picture.
        width: channels of the networks' largest map, a multiple of 8; cost grows with its square.
        network: the networks' layers: `strided` is quick and has most channels where maps are small, `residual` has
            more layers on large maps.
        likelihood: p(x|z), the distribution of pictures around what the decoder draws.
        sigma: fixed scale of a likelihood, but not bernoulli's, on pixels in [-1, 1]; null calibrates it (σ-VAE).
        palette: colours that a whole picture shares, mixed by soft masks; for graphics and textiles; 0 is off.
        whiten: when the decoder's phase begins, latents get coordinates in which codes have the moments of the prior,
            so that random latents lie where codes do.
        pca_share: principal components of the blurred pictures with more than this share of their variance become
            the first latents, which then cannot fold; 0 is off.
        inactive_below: latents that carry fewer nats than this when the decoder's phase begins become inactive, so
            that they do not disturb a morph; 0 is off.
        prior: what random latents are: samples of the prior, normal, or carried from there to where codes are by a flow
            that is fitted to them when the decoder's phase begins.
        classes: of the pictures; the data says them.
    """

    image_size: int = field(default=VAEConfig.image_size, metadata=_COLUMN)
    channels: int = VAEConfig.channels
    latent_dim: int = field(default=VAEConfig.latent_dim, metadata=_COLUMN)
    width: int = field(default=VAEConfig.width, metadata=_COLUMN)
    network: NetworkName = field(default=VAEConfig.network, metadata=_COLUMN)
    likelihood: LikelihoodName = field(default=VAEConfig.likelihood, metadata=_COLUMN)
    sigma: float | None = field(default=VAEConfig.sigma, metadata=_COLUMN)
    palette: int = _option(VAEConfig.palette, column=True)
    whiten: bool = field(default=VAEConfig.whiten, metadata=_COLUMN)
    pca_share: float = _option(VAEConfig.pca_share, share=True, column=True)
    inactive_below: float = _option(VAEConfig.inactive_below, column=True)
    prior: PriorName = field(default=VAEConfig.prior, metadata=_COLUMN)
    classes: tuple[str, ...] = VAEConfig.classes


@dataclass(frozen=True, kw_only=True)
class LossOptions(_Options):
    """The weights of the terms of the loss, see `vae.training.losses.objective`.

    Args:
        free_bits: nats that each dimension may use at no cost (Kingma 2016).
        moment_weight: weight of the distance of the aggregate posterior's first two moments from the prior's
            (DIP-VAE-II, Kumar 2018); 0 is off.
        adversarial_weight: how strongly a discriminator of patches draws the decoder, over how strongly the likelihood
            does, in the decoder's phase (VAE/GAN, Larsen 2016); it sees reconstructions, morphs and samples; 0 is off.
        cycle_weight: weight, in the decoder's phase, of the distance between the latents of morphs and samples and
            those that the encoder reads from their pictures; 0 is off.
        perceptual: a network of the extra `perceptual` whose features of reconstructions are compared with those of the
            pictures, EfficientNet-Lite0: meant for GPUs; a step on a CPU takes more than twice as long.
        perceptual_weight: how strongly that draws the decoder, over how strongly the likelihood does.
    """

    free_bits: float = _option(0.0, column=True)
    moment_weight: float = _option(0.0, column=True)
    adversarial_weight: float = _option(0.5, column=True)
    cycle_weight: float = _option(0.0, column=True)
    perceptual: Literal["none", "lite0"] = field(default="none", metadata=_COLUMN)
    perceptual_weight: float = _option(0.5, column=True)


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions(_Options):
    """The changes while a model learns, see `vae.training.schedule.Schedule`.

    Args:
        beta: weight of the KL term at the end of its schedule (β-VAE, Higgins 2017).
        beta_start: its weight at the start: 0 is KL warm-up (Bowman 2016), a large one unfolds the latent space first.
        beta_share: share of the training over which the weight goes from beta_start to beta.
        decoder_share: share of the training, at its end, in which the encoder stays as it is and the decoder alone
            learns (the decoder's phase); 0 is off.
        warmup_steps: steps over which the learning rate rises.
        hold_share: share of the training before the learning rate falls along a cosine.
    """

    beta: float = _option(8.0, column=True)
    beta_start: float = _option(8.0)
    beta_share: float = _option(0.3, share=True)
    decoder_share: float = _option(0.4, share=True)
    warmup_steps: int = _option(50)
    hold_share: float = _option(0.3, share=True)


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions(_Options):
    """The options of AdamW.

    Args:
        lr: peak learning rate: AdamW's; Muon, which teaches the convolutions, has 20 times as much.
        weight_decay: of AdamW: a step multiplies the weights by 1 − lr · weight_decay.
    """

    lr: float = _option(1e-3, column=True)
    weight_decay: float = _option(1e-4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lr:
            raise UserError("lr 0: nothing would be learnt; give more than 0")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(OptimizerOptions, ScheduleOptions, LossOptions, VAEOptions):
    """All options of `VAETraining`.

    Args:
        ema_decay: how slowly the average of the weights, which is what is kept, follows them: 0.99 is some 100 steps.
        compile: compile the networks with torch.compile: meant for GPUs; slower on the CPUs that were tried.
        on_nonfinite: what a loss or gradient that is not finite does: `stop` ends the training, `skip` leaves out steps
            with such a gradient, which makes the host wait for the device in every step.
        skip_at_most: how many steps `skip` may leave out before the training ends.
    """

    ema_decay: float = _option(0.99, share=True)
    compile: bool = False
    on_nonfinite: Literal["stop", "skip"] = "stop"
    skip_at_most: int = _option(10)

    def __post_init__(self) -> None:
        super().__post_init__()
        without_flow = (
            f"prior {self.prior}" if self.prior != "flow" else "" if self.decoder_share else "decoder_share 0"
        )
        if self.classes and without_flow:
            fault = f"contradicts --model.{without_flow}, with which no flow is fitted to classes"
            raise UserError(f"--data.labels folders: {fault}; leave one of them out")


def arguments(options: VAEOptions) -> dict[str, Any]:
    """The arguments of `VAE` among the options of a training."""
    return {each.name: getattr(options, each.name) for each in fields(VAEOptions)}


COMPARED = tuple(each.name for each in fields(TrainingOptions) if each.metadata.get("column"))  # TensorBoard's columns
