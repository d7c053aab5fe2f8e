"""A set of photographs as a source: each a frame by itself, in its own size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from vtrack.errors import SourceError, UsageError, spelled
from vtrack.pipelines.settings import InputSettings, Selection
from vtrack.pipelines.sources.base import SourceInfo
from vtrack.pipelines.sources.images.base import ImageFileSource
from vtrack.pipelines.sources.images.files import read_picture
from vtrack.pipelines.sources.images.sequence import check_image
from vtrack.types import Frame, ImageArray

log = logging.getLogger(__name__)


class PhotographSet(ImageFileSource):
    """Photographs as a source: image files, (H, W, 3) `uint8` RGB arrays, or both.

    Frames have their own sizes and no time (`Frame.time` is 0). A file that cannot be decoded is named in a warning, and its
    number is left out.

    Args:
        name: Folder, pattern or file that they belong to, or what else to call them in messages.
        pictures: The photographs, in order.
        selection: Which of them to read: every n-th.
        max_pixels: Largest number of pixels that is decoded; a larger file counts as damaged.

    Raises:
        UsageError: The selection has a start or stop, or an array is not RGB.
        SourceError: There is no photograph, or none can be decoded.
    """

    def __init__(
        self,
        name: str | Path,
        pictures: Sequence[str | Path | ImageArray],
        selection: Selection,
        max_pixels: int = InputSettings.max_pixels,
    ) -> None:
        chosen = list(enumerate(pictures))[:: selection.every]
        super().__init__(selection, [Path(each) for _, each in chosen if isinstance(each, str | Path)], max_pixels)
        if selection.start is not None or selection.stop is not None:
            raise UsageError(
                f"{name}: photographs have no times for {spelled('start')} and {spelled('stop')}; "
                f"{spelled('images', 'sequence')} makes a film of them"
            )
        self._name, self._pictures = name, chosen
        self._remaining = iter(self._pictures)
        self._first = self._next()
        if self._first is None:
            raise SourceError(f"{name}: there are no images")
        self.info = SourceInfo(
            name=Path(name).name or str(name),
            path=str(name) if isinstance(name, Path) else "",
            width=self._first.size[0],
            height=self._first.size[1],
            time_base=Fraction(1),
            frames=len(pictures),
            photographs=True,
        )

    @property
    def expected(self) -> int | None:
        """Number of photographs that will be read."""
        return len(self._pictures)

    def _next(self) -> Frame | None:
        """Return the next photograph that can be decoded."""
        for index, picture in self._remaining:
            if not isinstance(picture, str | Path):
                return Frame(check_image(picture, index), index, 0, Fraction(1))
            path = Path(picture)
            try:
                return Frame(read_picture(path, self._max_pixels), index, 0, Fraction(1), file=self._names[path])
            except SourceError as error:
                self._damaged += 1
                if self._damaged == len(self._pictures):
                    raise _all_damaged(self._name, self._damaged, error) from error
                log.warning("%s; skipped", error)
        return None

    def frames(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            frame = self._next()

    def close(self) -> None:
        """Skip the remaining photographs; each file is open only while it is decoded."""
        self._remaining = iter(())
        self._first = None


def _all_damaged(name: str | Path, count: int, last: SourceError) -> SourceError:
    """The error for files of which none can be decoded."""
    return last if count == 1 else SourceError(f"{name}: none of {count} images can be read; the last: {last}")
