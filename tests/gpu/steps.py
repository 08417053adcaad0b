"""The real step of a training, its models and its pictures, on any device and without Lightning."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from data.synthetic.patterns import patterns
from data.transforms import to_tensor
from vae.model.autocast import autocast
from vae.model.vae import VAE
from vae.training.losses.objective import batch_loss, loss_terms
from vae.training.optimizer import build_optimizer, clip_gradients, set_learning_rates
from vae.training.options import TrainingOptions, arguments

Mode = Literal["nchw", "float32", "bfloat16", "compiled"]
MODES: tuple[Mode, ...] = ("nchw", "float32", "bfloat16", "compiled")  # compiled is bfloat16, too
_CLIP = 1.0  # as in the recipes


class Scale(NamedTuple):
    """The device, and how much is asked of it.

    Attributes:
        device: of everything.
        sizes: of pictures, in pixels.
        batch: pictures of a step.
        width: of the networks.
        latent_dim: D.
        repeats: of what is timed.
        tuning_steps: of pivotal tuning.
        backend: of torch.compile.
    """

    device: torch.device
    sizes: tuple[int, ...]
    batch: int
    width: int
    latent_dim: int
    repeats: int
    tuning_steps: int
    backend: str


DEFAULT = TrainingOptions()
GPU = Scale(torch.device("cuda"), (64, 128, 256), 256, DEFAULT.width, DEFAULT.latent_dim, 20, 200, "inductor")
TINY = Scale(torch.device("cpu"), (32,), 4, 8, 8, 1, 3, "eager")


def pictures(count: int, size: int) -> Tensor:
    """Patterns (count, 3, size, size) in [-1, 1], on the CPU."""
    return to_tensor(patterns(0, torch.arange(count), size))


class Step:
    """A step with the default options: loss, gradients, clipping, optimizer.

    Args:
        scale: where, and how large.
        size: of the pictures, in pixels.
        mode: layout and precision; `compiled` compiles what a training with --model.compile does, in whole graphs.
        decoder_phase: whether the decoder learns alone, against a discriminator.
    """

    def __init__(self, scale: Scale, size: int, mode: Mode = "float32", decoder_phase: bool = False) -> None:
        torch.manual_seed(0)
        options = TrainingOptions(image_size=size, width=scale.width, latent_dim=scale.latent_dim)
        layout = torch.contiguous_format if mode == "nchw" else torch.channels_last
        self.vae = VAE(**arguments(options))
        self.terms = nn.ModuleDict(loss_terms(options, options, True))
        for part in (self.vae, self.terms):
            part.to(scale.device, memory_format=layout)
        if mode == "compiled":
            torch._dynamo.reset()  # networks of other sizes count as variants of this one
            for network in (self.vae.encoder.features, self.vae.decoder.layers):
                network.compile(fullgraph=True, backend=scale.backend)
        self.dtype = torch.float32 if mode in ("nchw", "float32") else torch.bfloat16
        self.decoder_phase, self.count = decoder_phase, 0
        self.discriminator = self.terms["adversarial"].discriminator
        self.optimizer = build_optimizer(self.vae, self.discriminator, options, fused=True)
        set_learning_rates(self.optimizer, options.lr, decoder_phase)
        self.beta = torch.tensor(options.beta, device=scale.device)
        self.x = pictures(scale.batch, size).to(scale.device).contiguous(memory_format=layout)
        self.generator = torch.Generator(scale.device)

    def loss(self) -> Tensor:
        """() of the next batch; its noise depends on the number of steps before it alone."""
        self.generator.manual_seed(self.count)
        terms = self.terms.values()
        with autocast(self.x.device, self.dtype):
            loss, _, _ = batch_loss(
                self.vae, terms, self.x, self.beta, self.count, 0.5, self.decoder_phase, self.generator
            )
        return loss

    def __call__(self) -> Tensor:
        """Makes a step; its loss."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        clip_gradients([self.vae, self.discriminator], _CLIP)
        self.optimizer.step()
        self.count += 1
        return loss.detach()
