"""Pipelines: from sources through tracking, smoothing and measures to outputs, for files, live video and batches."""
