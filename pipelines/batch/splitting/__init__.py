"""Splitting long videos into pieces that workers track in parallel, and joining the pieces into the same results."""
