"""Writing a picture to a file."""

from __future__ import annotations

from pathlib import Path

import cv2

from vtrack.errors import SinkError
from vtrack.imaging.planes import ImageArray


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise where writing would replace a file that nobody allowed to replace, or has no folder to go to."""
    if path.exists() and not overwrite:
        raise SinkError(f"{path} exists; choose another name or add --overwrite")
    if not path.parent.is_dir():
        raise SinkError(f"{path.parent} is not a folder")


def save_png(image: ImageArray, path: Path, *, overwrite: bool = False) -> None:
    """Write an RGB image as PNG."""
    if path.suffix.lower() != ".png":
        raise SinkError(f"{path}: pictures are written as .png")
    check_free(path, overwrite=overwrite)
    content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    try:
        path.write_bytes(bytes(content))
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}") from error
