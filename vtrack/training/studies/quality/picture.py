"""The mean picture of faces, with which `vtrack check` compares what lies below points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from vtrack.data.dataset import Dataset
from vtrack.imaging.warp import warp
from vtrack.pipelines.settings import CropSettings
from vtrack.pipelines.tables.crops.alignment import FaceAligner
from vtrack.pipelines.tables.quality.likeness import PATH, SIDE
from vtrack.types import ImageArray

PHOTOGRAPHS = 400
"""Photographs that are averaged, drawn at random."""


def mean_picture(data: Dataset, seed: int = 1) -> ImageArray:
    """(SIDE, SIDE) the mean of faces that are aligned by their points and of equal brightness and contrast."""
    aligner = FaceAligner(data.layout.query, CropSettings(align="face"))
    total = np.zeros((SIDE, SIDE))
    for place in np.random.default_rng(seed).permutation(len(data))[:PHOTOGRAPHS].tolist():
        if (alignment := aligner.align(data.points[place].astype(np.float64))) is not None:
            picture = warp([data.image(place)], [0], aligner.crop(alignment), SIDE)[0, 1].astype(np.float64)
            total += (picture - picture.mean()) / max(float(picture.std()), 1.0)
    return np.rint(255 * (total - total.min()) / np.ptp(total)).astype(np.uint8)


def save_mean_picture(data: Dataset, path: Path = PATH) -> None:
    """Make the picture and write the file that `vtrack check` reads."""
    save_file({"picture": mean_picture(data)}, str(path))
