"""What every training shares: checkpoints, half precision, several processes."""
