"""The defaults of a training of the face detector. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DetectorRecipe:
    """Options of `train_detector`, which describes them."""

    cache: Path = Path("runs/detect")
    steps: int = 6000
    batch: int = 16
    size: int = 320
    rate: float = 2e-3
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    every: int = 500
