"""The folders of runs, their checkpoints, and how a training is resumed."""
