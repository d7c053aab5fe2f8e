"""Annotated reference faces stored with a model, and the choice of the one most similar to a crop (Wan et al.)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn
from torch.nn import functional

from vtrack.models.backbones.registry import normalise
from vtrack.types import FloatArray, ImageArray

CHOICES = ("sift", "worst", "neutral", "random")

_RATIO = 0.8
"""Lowe's ratio test: a match counts if its distance is below this share of the second-best match's."""


class ReferenceFaces(nn.Module):
    """Faces saved among the weights; the first is the neutral one."""

    images: Tensor
    """(K, 3, s, s) uint8"""
    points: Tensor
    """(K, L, 2) in crop units"""

    def __init__(self, count: int, size: int, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(count, 3, size, size, dtype=torch.uint8))
        self.register_buffer("points", torch.zeros(count, landmarks, 2))
        self._described: tuple[int, list[FloatArray]] | None = None
        self._random = np.random.default_rng(0)

    def choose(self, crops: Tensor, how: str) -> Tensor:
        """Choose a reference face for each crop.

        Args:
            crops: (B, 3, S, S) uint8.
            how: Method. `sift`: the one with the most matching SIFT features; `worst`: with the fewest; `neutral`: the first;
                `random`.

        Returns:
            (B,) indices of references.
        """
        count = crops.shape[0]  # not its length, which would be fixed in an exported graph
        if how == "neutral":
            return torch.zeros(count, dtype=torch.long, device=crops.device)
        if how == "random":
            return torch.from_numpy(self._random.integers(0, len(self.images), count)).to(crops.device)
        references = self._descriptions()
        matches = np.array([[_matches(one, other) for other in references] for one in _describe(self._as_large(crops))])
        chosen = matches.argmax(1) if how == "sift" else matches.argmin(1)
        return torch.from_numpy(chosen).to(crops.device)

    def resized(self, size: int) -> Tensor:
        """(K, 3, size, size) the faces, normalised, for a network that sees them at another size."""
        images = normalise(self.images)
        if images.shape[-1] % size == 0:
            return functional.avg_pool2d(images, images.shape[-1] // size)
        return functional.adaptive_avg_pool2d(images, size)

    def _as_large(self, crops: Tensor) -> ImageArray:
        """(B, s, s, 3) the crops at the references' size."""
        size = self.images.shape[-1]
        how = cv2.INTER_CUBIC if crops.shape[-1] < size else cv2.INTER_AREA
        whole = crops.permute(0, 2, 3, 1).cpu().numpy()
        return np.stack([cv2.resize(crop, (size, size), interpolation=how) for crop in whole])

    def _descriptions(self) -> list[FloatArray]:
        """The references' SIFT features, computed once for the images there are."""
        version = self.images._version
        if self._described is None or self._described[0] != version:
            self._described = version, _describe(self.images.permute(0, 2, 3, 1).cpu().numpy())
        return self._described[1]


def _describe(images: Sequence[ImageArray] | ImageArray) -> list[FloatArray]:
    """SIFT descriptors (n, 128) of each image (s, s, 3); n may be 0."""
    sift = cv2.SIFT_create(nfeatures=200, contrastThreshold=0.02)  # type: ignore[attr-defined]
    descriptors = [sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)[1] for image in images]
    return [np.zeros((0, 128), np.float32) if features is None else features for features in descriptors]


def _matches(features: FloatArray, others: FloatArray) -> int:
    """Number of descriptors (n, 128) that match one of others (m, 128) by the ratio test."""
    if len(features) < 1 or len(others) < 2:
        return 0
    squares = (features**2).sum(1)[:, None] + (others**2).sum(1) - 2 * features @ others.T
    best = np.sqrt(np.partition(squares, 1, axis=1)[:, :2].clip(min=0))
    return int((best[:, 0] < _RATIO * best[:, 1]).sum())


def representatives(shapes: FloatArray, count: int, seed: int = 0) -> list[int]:
    """Indices of `count` faces among shapes (n, L, 2): the one nearest to the mean, then one of each k-means cluster."""
    flat = np.asarray(shapes, np.float64).reshape(len(shapes), -1)
    chosen = [int(((flat - flat.mean(0)) ** 2).sum(1).argmin())]
    if count > 1:
        centers, _ = kmeans2(flat, min(count - 1, len(flat)), seed=seed, minit="++", missing="warn")
        nearest = ((flat[None] - centers[:, None]) ** 2).sum(-1).argsort(1)  # (kinds, n)
        for row in nearest:
            chosen.append(next((int(place) for place in row if int(place) not in chosen), chosen[0]))
    return (chosen * count)[:count] if len(chosen) < count else chosen
