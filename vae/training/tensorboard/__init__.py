"""The logs and pictures of a training for TensorBoard."""
