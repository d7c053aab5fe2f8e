"""Reads 300W: a tree of `.pts` files beside their pictures. They count pixels from 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats import folders
from vtrack.errors import DataError
from vtrack.layouts import Layout
from vtrack.types import FloatArray

# Parts of the benchmark by the names of their folders. `full` is common and challenging together.
_TRAIN = {"afw", "trainset", "train"}
_SUBSETS = {"common": {"testset"}, "challenging": {"ibug"}, "private": {"01_indoor", "02_outdoor"}}
_TEST = {"test", "val"}.union(*_SUBSETS.values())


def read_pts_tree(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """Read the `.pts` files of one split under a folder. Splits and subsets follow from the benchmark's folder names."""
    annotations = sorted(path.rglob("*.pts"))
    if not annotations:
        raise DataError(f"{path}: there are no .pts files in it")
    homes = [{part.lower() for part in file.relative_to(path).parts[:-1]} for file in annotations]
    if path.name.lower() in _TRAIN | _TEST:
        homes = [home | {path.name.lower()} for home in homes]
    unknown = [file for file, home in zip(annotations, homes, strict=True) if not _part(home)]
    if unknown and split != "all":
        raise DataError(
            f"{unknown[0]}: its folder does not say whether it is for training "
            f"({', '.join(sorted(_TRAIN))}) or not ({', '.join(sorted(_TEST))}); only the split `all` can be read"
        )
    chosen = [i for i, home in enumerate(homes) if folders.wanted(_part(home), split)]
    if not chosen:
        raise DataError(f"{path}: no faces in the split {split!r}")
    points = np.stack([read_pts(annotations[i], len(layout)) for i in chosen])
    pictures = [folders.picture_of(annotations[i]).relative_to(path).as_posix() for i in chosen]
    members = {key: np.array([bool(homes[i] & names) for i in chosen]) for key, names in _SUBSETS.items()}
    members["full"] = members["common"] | members["challenging"]
    return Dataset(
        name,
        layout,
        tuple(pictures),
        points,
        tuple(annotations[i].stem for i in chosen),
        folders.reader(path, path),
        {key: member for key, member in members.items() if member.any()},
    )


def read_pts(path: Path, count: int) -> FloatArray:
    """(points, 2) float32 points of one file, counted from 0."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        body = text[text.index("{") + 1 : text.index("}")].split()
        points = np.array(body, np.float32).reshape(-1, 2) - 1
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable .pts file: {error}") from error
    if len(points) != count:
        raise DataError(f"{path}: {len(points)} points, but {count} are expected")
    return points


def _part(home: set[str]) -> str:
    """Part of the benchmark (train or test) of a file in these folders; empty if unknown."""
    if home & _TRAIN:
        return "train"
    return "test" if home & _TEST else ""
