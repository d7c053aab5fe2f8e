"""Ways to read landmarks off heatmaps, by name. Any heatmap model can use any of them: `--decoder keyposs`."""

from __future__ import annotations

from torch import Tensor

from vtrack.errors import UsageError
from vtrack.models.decoding import heatmaps as hm
from vtrack.models.decoding import multilateration, vectors

DECODERS = ("one-hot", "two-hot", "distribution-aware", "keyposs")


def decode(heatmaps: Tensor, decoder: str, *, sigma: float, kernel: int = 2, beyond: bool = False) -> Tensor:
    """Points (B, L, 2) in crop units. `sigma` is the labels', in cells.

    `kernel` is the side of `keyposs`'s window of anchors. `beyond` then looks for points outside the crop (paper 004).
    """
    if decoder == "one-hot":
        points = hm.one_hot(heatmaps)
    elif decoder == "two-hot":
        points = hm.two_hot(heatmaps)
    elif decoder == "distribution-aware":
        points = hm.distribution_aware(heatmaps, blur=sigma)
    elif decoder == "keyposs":
        points = multilateration.decode(heatmaps, sigma, kernel)
    else:
        raise UsageError(f"there is no decoder {decoder!r}; choose from {', '.join(DECODERS)}")
    return vectors.beyond_box(points, vectors.profiles(heatmaps), 1.0, sigma) if beyond else points
