"""Access to the photographs that annotations name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from vtrack.errors import DataError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def reader(root: Path, annotation: Path) -> Callable[[str], bytes]:
    """A function that reads files under `root`, for `Dataset.read`; names that lead out of it are refused."""
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
    """The picture with the name of an annotation file, beside it or in `folder`."""
    folder = annotation.parent if folder is None else folder
    for suffix in PICTURES:
        for path in (folder / (annotation.stem + suffix), folder / (annotation.stem + suffix.upper())):
            if path.exists():
                return path
    raise DataError(f"{annotation}: there is no picture of this name in {folder}")


def choose_root(candidates: Iterable[Path], name: str) -> Path:
    """The first folder that contains the file `name`; the first of all if none does, so that the error names that one."""
    folders = list(candidates)
    return next((folder for folder in folders if (folder / name).exists()), folders[0])


def wanted(own: str, split: str) -> bool:
    """Whether a face of a data set's part `own` (train, val or test) belongs to the requested split."""
    is_training = own == "train"
    return split == "all" or (split == "train") == is_training
