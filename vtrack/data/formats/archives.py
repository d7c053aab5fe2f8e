"""Zips of `images/` and a `labels.csv` as in `tables`, with all three leading columns."""

from __future__ import annotations

import zipfile
from pathlib import Path

from vtrack.data.dataset import Dataset
from vtrack.data.formats.tables import parse_table
from vtrack.errors import DataError
from vtrack.layouts import Layout

_LABELS = "labels.csv"


def read_zip(name: str, layout: Layout | None, path: Path, split: str) -> Dataset:
    """Read the faces of one split of a zip, with the encoded pictures, which threads and processes can share in memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            if _LABELS not in members:
                raise DataError(f"{path}: there is no {_LABELS} in it")
            labels = parse_table(archive.read(_LABELS).decode("utf-8-sig"), path, layout, split)
            missing = set(labels.files) - members
            if missing:
                raise DataError(f"{path}: {min(missing)} is in {_LABELS}, but not in the zip")
            content = {file: archive.read(file) for file in set(labels.files)}
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable zip of annotated pictures: {error}") from error
    return labels.dataset(name, content.__getitem__)
