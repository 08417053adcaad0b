"""Renders morphs from a trained VAE: `python render.py`, or `latent-loom render` where it is installed."""

if __name__ == "__main__":
    from data.system.program import run_program

    run_program("render", "vae.render.cli.main")
else:
    from vae.render.cli.main import main

    __all__ = ["main"]
