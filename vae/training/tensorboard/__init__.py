"""What TensorBoard shows of a training."""
