"""From a network's output to points: heatmaps, vectors, multilateration, and interpolation along curves.

`registry.decode` finds landmarks in heatmaps by the name of a decoder; `interpolation` and `curves` give points between
those that a network was trained on.
"""
