"""Shared by every training: checkpoints, the running mean of weights, half precision, several processes."""
