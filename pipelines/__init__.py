"""What moves frames: sources, tracking, smoothing, outputs, live pictures and batches."""
