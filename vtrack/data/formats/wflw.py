"""Reads WFLW: list files with one line per face: 98 points, a box, six attributes, the name of the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats import folders
from vtrack.errors import DataError
from vtrack.layouts import Layout

ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
_BOX, _FLAGS = 4, len(ATTRIBUTES)


def read_wflw(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """Read a list file, or the unpacked data set with its folders WFLW_annotations and WFLW_images."""
    lists = [path] if path.is_file() else _lists(path, split)
    if path.is_file() and split != "all" and not folders.wanted(_part(path), split):
        raise DataError(f"{path}: this list is not of the split {split!r}")
    rows = [(file, line.split()) for file in lists for line in _lines(file) if line.strip()]
    if not rows:
        raise DataError(f"{path}: no faces in it")
    numbers = 2 * len(layout)
    rich = numbers + _BOX + _FLAGS + 1
    for file, row in rows:
        if len(row) not in (rich, numbers + 1):
            raise DataError(f"{file}: a line has {len(row)} fields, not {rich} or {numbers + 1}: {row[-1][:80]}")
    try:
        points = np.array([row[:numbers] for _, row in rows], np.float32).reshape(len(rows), -1, 2)
        flags = np.array([row[-1 - _FLAGS : -1] if len(row) == rich else ["0"] * _FLAGS for _, row in rows], np.intp)
    except ValueError as error:
        raise DataError(f"{path}: not a WFLW list: {error}") from error
    files = tuple(row[-1] for _, row in rows)
    root = folders.choose_root(_image_folders(path), files[0])
    subsets = {key: flags[:, i] == 1 for i, key in enumerate(ATTRIBUTES)}
    return Dataset(
        name,
        layout,
        files,
        points,
        files,
        folders.reader(root, lists[0]),
        {key: member for key, member in subsets.items() if member.any()},
    )


def _lists(path: Path, split: str) -> list[Path]:
    """The list files of one split under the folder of the data set; those with attributes, if there are both kinds."""
    for pattern in ("list_98pt_rect_attr_*.txt", "list_98pt_*.txt"):
        found = [file for file in sorted(path.rglob(pattern)) if split == "all" or folders.wanted(_part(file), split)]
        if found:
            return found
    raise DataError(f"{path}: there is no list_98pt_*.txt of the split {split!r} in it")


def _part(file: Path) -> str:
    """Split of a list, by its name."""
    return "train" if "train" in file.stem.lower() else "test"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a readable list: {error}") from error


def _image_folders(path: Path) -> list[Path]:
    """Folders that may contain the pictures: that of the list, and WFLW_images in it or in one of its parents."""
    home = path if path.is_dir() else path.parent
    return [home, *(folder / "WFLW_images" for folder in (home, *list(home.resolve().parents)[:3]))]
