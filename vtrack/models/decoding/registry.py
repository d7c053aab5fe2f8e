"""Decoders of heatmaps by name. Any heatmap model can use any of them: `--decoder keyposs`."""

from __future__ import annotations

from torch import Tensor

from vtrack.errors import UsageError
from vtrack.models.decoding import heatmaps as hm
from vtrack.models.decoding import multilateration, vectors

DECODERS = ("one-hot", "two-hot", "distribution-aware", "keyposs")


def decode(heatmaps: Tensor, decoder: str, *, sigma: float, kernel: int = 2, beyond: bool = False) -> Tensor:
    """Find the landmarks in heatmaps.

    Args:
        heatmaps: (B, L, n, n) responses.
        decoder: Name in `DECODERS`.
        sigma: Standard deviation of the Gaussian labels, in cells.
        kernel: Side of the window of anchors, for `keyposs`.
        beyond: Find points outside the crop too (Xiong et al.).

    Returns:
        (B, L, 2) points in crop units.
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
