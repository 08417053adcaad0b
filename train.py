"""Trains a VAE on pictures: `python train.py`, or `latent-loom train` where it is installed."""

if __name__ == "__main__":
    from data.system.program import run_program

    run_program("train", "vae.training.cli.main")
else:
    from vae.training.cli.main import main

    __all__ = ["main"]
