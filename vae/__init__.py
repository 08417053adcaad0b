"""The variational autoencoder, the paths through its latent space, and the animations made of them."""

__version__ = "0.1.0"
