"""The average of the weights, against its recursion."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from vae.training.averaging import ExponentialMovingAverage


class Small(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)
        self.register_buffer("counted", torch.zeros(()))
        self.register_buffer("flag", torch.tensor(True))

    def training_step(self, x, batch_idx):
        self.counted += 1
        self.flag.fill_(self.counted < 3)
        return self.line(x).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Diary(pl.Callback):
    """The weights after each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append({name: value.clone() for name, value in module.state_dict().items()})


def train(decay, steps, gathered):
    """The state at the end, and after each batch."""
    module, diary = Small(), Diary()
    trainer = pl.Trainer(
        max_steps=steps, accumulate_grad_batches=gathered,
        callbacks=[diary, ExponentialMovingAverage(torch.device("cpu"), decay)],
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(torch.randn(64, 4, generator=torch.Generator().manual_seed(1)), 4))
    return module.state_dict(), diary.seen


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.parametrize(("decay", "gathered"), [(0.0, 1), (0.2, 2), (0.99, 1)])
def test_the_average_starts_at_the_first_step_and_follows_those_that_change_weights_ever_more_slowly(decay, gathered):
    found, seen = train(decay, 6, gathered)
    steps = seen[gathered - 1 :: gathered]
    assert len(steps) == 6
    expected = steps[0]
    for step, weights in enumerate(steps[1:], 1):
        kept = min(decay, step / (step + 9))
        expected = {name: kept * expected[name] + (1 - kept) * weights[name] for name in expected}
    expected["counted"], expected["flag"] = steps[-1]["counted"], steps[-1]["flag"]  # no average of a count or a flag
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-6), name
