"""Where outputs go when nobody says."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from vtrack.errors import SinkError
from vtrack.pipelines.sources.open import is_address


def default_output(source: str | Path, folder: Path | None = None) -> Path:
    """Where the outputs of a source go, but for their suffix: beside it, or in `folder`; for an address here."""
    if is_address(source):
        name, beside = Path(urlsplit(str(source)).path).stem or "stream", Path()
    else:
        path = Path(source).absolute()
        # A pattern stands for its folder.
        path = path.parent if any(mark in path.name for mark in "*?[") and not path.exists() else path
        name, beside = path.name if path.is_dir() else path.stem, path.parent
    return (folder or beside) / f"{name}.vtrack"


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, unless it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror or error}") from error
