"""What sources of image files share: the names of the files in tables, and the count of those that are damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vtrack.pipelines.settings import Selection
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.images.files import names_of


class ImageFileSource(Source):
    """A source of which some or all frames are image files.

    Args:
        selection: Which frames to read.
        paths: The image files.
        max_pixels: Largest number of pixels of a file that is decoded.
    """

    def __init__(self, selection: Selection, paths: Sequence[Path], max_pixels: int) -> None:
        super().__init__(selection)
        self._max_pixels, self._damaged = max_pixels, 0
        self._files = names_of(paths)
        self._names = {path: name for name, path in self._files.items()}

    @property
    def damaged(self) -> int:
        """Number of files that could not be decoded so far."""
        return self._damaged

    @property
    def files(self) -> Mapping[str, Path]:
        """The image files by their names in tables."""
        return self._files
