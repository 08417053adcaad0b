"""The mathematics: networks, likelihoods, the VAE and its evidence lower bound."""
