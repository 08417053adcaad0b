"""What the help of the training's commands shows: their meanings, and the options that people use."""

from collections.abc import Mapping

MEANINGS = {
    "fit": "Trains a model.",
    "validate": "Measures a trained model on the pictures that its training held out.",
    "test": "Measures the same, and a closer bound on the likelihood.",
}
_DATA = (
    "source",
    "image_size",
    "channels",
    "fit",
    "background",
    "limit",
    "mirror",
    "shift",
    "labels",
    "batch_size",
    "cache_dir",
)
_MODEL = (
    "latent_dim",
    "width",
    "network",
    "likelihood",
    "prior",
    "beta",
    "adversarial_weight",
    "cycle_weight",
    "perceptual",
    "lr",
)

_MACHINE: Mapping[str, str | None] = {
    "--trainer.devices": "how many GPUs, or processes on a CPU, each machine has (default auto)",
    "--trainer.accelerator": "gpu, cpu, mps or another kind of device (default auto)",
    "--trainer.num_nodes": "machines (default 1)",
    "--trainer.strategy": "how they work together (default auto)",
    "--trainer.precision": "bf16-mixed, 16-mixed or 32-true; null is bf16-mixed where it is quicker",
    "--model.compile": None,
    "--trainer.max_epochs": "end after so many epochs",
    "--trainer.max_steps": "end after so many steps",
    "--trainer.accumulate_grad_batches": "batches a step (default 1)",
    "--trainer.logger": "WandbLogger, MLFlowLogger, false or another; null is TensorBoard's",
    "--trainer.callbacks": "callbacks of your own",
    "--trainer.enable_progress_bar": "false shows no bar",
}
_TRAINING: Mapping[str, Mapping[str, str | None]] = {
    "Pictures": dict.fromkeys(f"--data.{name}" for name in _DATA),
    "Training": {
        "--minutes": None,
        "--init": None,
        "--ckpt_path": "a checkpoint to go on from; last is the newest of the pictures' or of all",
        "--config": None,
        "--seed_everything": "the seed of weights, order and noise",
        "--checkpoint_metric": None,
        "--trainer.default_root_dir": "the folder of checkpoints/ and logs/ (default: this one)",
    },
    "Model": dict.fromkeys(f"--model.{name}" for name in _MODEL),
    "What is shown and measured": {
        "--watch.every_n_epochs": "after how many epochs morphs and samples are shown",
        "--realism.every_n_epochs": "after how many epochs KID is measured, which takes a minute",
    },
    "Machine, and other lengths than minutes (Lightning's trainer)": _MACHINE,
}

_MEASURING = {
    "Pictures": dict.fromkeys(("--data.source", "--data.cache_dir")),
    "Measuring": {
        "--ckpt_path": "the checkpoint to measure; last is the newest of the pictures' or of all",
        "--health.pictures": None,
        "--health.pairs": None,
        "--realism.every_n_epochs": "1 measures KID, too, which takes a minute",
    },
    "Machine": {f"--trainer.{name}": _MACHINE[f"--trainer.{name}"] for name in ("devices", "accelerator", "precision")},
}


def prominent(command: str) -> Mapping[str, Mapping[str, str | None]]:
    """Titles → the options of a command that its help shows → their meanings if these are not their own."""
    return _TRAINING if command == "fit" else _MEASURING
