"""Smoothing in pure NumPy; knows nothing of faces."""
