"""The training of a model, on Lightning: what train.py runs."""
