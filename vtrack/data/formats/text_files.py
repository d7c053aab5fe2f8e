"""Reads text files, one per face: Helen (name of the picture, then lines `x , y`) and LaPa (a count, then lines `x y`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats import folders
from vtrack.errors import DataError
from vtrack.layouts import Layout
from vtrack.types import FloatArray


def read_texts(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """Read all text files of points under a folder. Splits follow from folders called train, val and test."""
    texts = [file for file in sorted(path.rglob("*.txt")) if split == "all" or folders.wanted(_part(file, path), split)]
    faces = [(file, *found) for file in texts if (found := _read(file, len(layout))) is not None]
    if not faces:
        raise DataError(f"{path}: no text files of {len(layout)} points in the split {split!r}")
    pictures = [_picture(file, title, path) for file, title, _ in faces]
    return Dataset(
        name,
        layout,
        tuple(pictures),
        np.stack([points for _, _, points in faces]),
        tuple(pictures),
        folders.reader(path, path),
    )


def _part(file: Path, root: Path) -> str:
    """Split of a file by its folders; without folders of these names, files are for training."""
    homes = {part.lower() for part in file.relative_to(root).parts[:-1]}
    return "test" if homes & {"test", "val", "testset"} else "train"


def _read(file: Path, count: int) -> tuple[str, FloatArray] | None:
    """The first line and the points (points, 2) after it; None for other text files, such as a readme."""
    try:
        title, *lines = file.read_text(encoding="utf-8").split("\n")
        rows = [line.replace(",", " ").split() for line in lines if line.strip()]
        points = np.array(rows, np.float32).reshape(len(rows), 2)
    except (OSError, ValueError):
        return None
    if len(points) != count:
        raise DataError(f"{file}: {len(points)} points, but {count} are expected")
    return title.strip(), points


def _picture(file: Path, title: str, root: Path) -> str:
    """The picture of a text file, by its first line (Helen) or its own name (LaPa), beside it or in `images`."""
    named = file if title.isdigit() else file.with_name(f"{title}.txt")
    for folder in (file.parent, file.parent.parent / "images", root / "images", root):
        try:
            return folders.picture_of(named, folder).relative_to(root).as_posix()
        except DataError:
            continue
    raise DataError(f"{file}: there is no picture {named.stem} beside it or in a folder `images`")
