"""What Lightning has a training do in each step: the host never waits for a GPU, for which tensors on "meta" stand."""

from types import SimpleNamespace

import pytest
import torch

from tests.gpu.waiting import no_waiting
from vae.training.averaging import ExponentialMovingAverage
from vae.training.module import VAETraining
from vae.training.optimizer import build_optimizer, set_learning_rates

KINDS = {
    "default": {},
    "every term": {"moment_weight": 1.0, "cycle_weight": 1.0, "free_bits": 0.1},
    "residual": {"network": "residual", "palette": 3, "likelihood": "wavelet", "whiten": False, "pca_share": 0.1},
}


@pytest.mark.parametrize("progress", [0.1, 0.9])
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "default")) for kind in KINDS])
def test_no_step_makes_the_host_wait(kind: str, progress: float, monkeypatch: pytest.MonkeyPatch):
    module = VAETraining(image_size=32, latent_dim=8, width=8, **KINDS[kind]).to("meta")
    module._trainer = SimpleNamespace(world_size=1, scaler=None, log_every_n_steps=0, global_step=3)
    for name, value in {"progress": progress, "max_progress": progress, "global_step": 3, "noise_seed": 0}.items():
        monkeypatch.setattr(VAETraining, name, value)
    monkeypatch.setattr("vae.training.module.torch.Generator", lambda device: torch._C.Generator())
    optimizer = build_optimizer(module.vae, module.discriminator, module.options, fused=False)
    average = ExponentialMovingAverage(module.device, 0.99)
    average._average_model = SimpleNamespace(module=VAETraining(image_size=32, latent_dim=8, width=8, **KINDS[kind]))
    average._average_model.module.to("meta")
    average.on_train_start(module._trainer, module)
    x = torch.zeros(4, 3, 32, 32, device="meta")

    def step() -> None:
        set_learning_rates(optimizer, module._learning_rate, module.decoder_phase)
        loss = module.training_step(x, 0)
        module.nonfinite_guard.on_before_backward(module._trainer, module, loss)
        loss.backward()
        module.on_before_optimizer_step(optimizer)
        module.configure_gradient_clipping(optimizer, 1.0)
        optimizer.step()
        average.on_train_batch_end(module._trainer, module)

    step()
    with no_waiting():
        step()
    assert module.nonfinite_guard._first_bad.device.type == "meta"
