"""Photographs in a folder, named by annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from vtrack.errors import DataError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def reader(root: Path, annotation: Path) -> Callable[[str], bytes]:
    """What reads files under `root` for `Dataset.read`; annotations cannot lead out of it."""
    home = root.resolve()

    def read(name: str) -> bytes:
        path = (home / name).resolve()
        if not path.is_relative_to(home):
            raise DataError(f"{annotation}: {name} leads out of {root}")
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{annotation}: the picture {path} cannot be read: {error.strerror}") from error

    return read


def picture_of(annotation: Path, folder: Path | None = None) -> Path:
    """The picture with the annotation's name, beside it or in `folder`."""
    folder = annotation.parent if folder is None else folder
    for suffix in PICTURES:
        for path in (folder / (annotation.stem + suffix), folder / (annotation.stem + suffix.upper())):
            if path.exists():
                return path
    raise DataError(f"{annotation}: there is no picture of this name in {folder}")


def choose_root(candidates: Iterable[Path], name: str) -> Path:
    """The first folder that holds the file `name`; if none does, the first, where reading it will say that it is absent."""
    folders = list(candidates)
    return next((folder for folder in folders if (folder / name).exists()), folders[0])


def wanted(own: str, split: str) -> bool:
    """Whether a face of the data set's own part `own` (train, val, test) belongs to the split asked for."""
    is_training = own == "train"
    return split == "all" or (split == "train") == is_training
