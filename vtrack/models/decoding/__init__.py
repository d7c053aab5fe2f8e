"""From what a network answers to points: heatmaps, vectors, distances, curves."""
