"""How the model learns: what train.py runs, on Lightning."""
