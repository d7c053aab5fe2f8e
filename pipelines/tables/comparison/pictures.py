"""Pictures of the worst frames of a comparison: the points of both tables in two colours on the face."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vtrack.errors import SinkError, UsageError, spelled
from vtrack.imaging.crops import Crops
from vtrack.imaging.png import save_png
from vtrack.imaging.warp import warp
from vtrack.pipelines.outputs.drawing.palette import COMPARED_COLORS
from vtrack.pipelines.outputs.paths import make_folder
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.comparison.timeline import WorstFrame
from vtrack.pipelines.tables.fit import check_frame, misfit
from vtrack.types import FloatArray, Frame, ImageArray

_SIDE, _TITLE = 640, 40
_MARGIN = 1.5
"""Side of the picture over the longer side of the box around all points."""
_FRACTION_BITS = 3
_LINK = (255, 255, 255)
"""Colour of the lines between the points of both tables."""
_BACK, _INK = (24, 24, 28), (240, 240, 240)


def picture_names(worst: Sequence[WorstFrame]) -> list[str]:
    """Names of the files, the worst frame first."""
    return [f"{rank:02}-frame-{each.frame:06}-face-{each.first}.png" for rank, each in enumerate(worst, 1)]


def check_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Check that pictures can be written into a folder.

    Raises:
        UsageError: It is a file, or has pictures of a comparison, and nobody allowed to replace them.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"cannot write pictures into {folder}: it is a file; give a folder")
    if not overwrite and (found := sorted(folder.glob("[0-9][0-9]-frame-*-face-*.png"))):
        raise UsageError(f"{found[0]} exists already; add {spelled('overwrite', True)} or choose another folder")


def save_pictures(
    worst: Sequence[WorstFrame], video: str, folder: Path, names: tuple[str, str], *, times: bool = True
) -> list[Path]:
    """Save a picture of each of the worst frames; those of an earlier comparison in the folder are removed.

    Args:
        worst: The frames.
        video: The video or photographs that the tables were made of.
        folder: Folder to write into; made if absent.
        names: Names of the tables, for the titles.
        times: Whether frames must have the time that the tables say.

    Raises:
        UsageError: The video lacks such a frame.
        SourceError: The video cannot be read.
        SinkError: The folder cannot be written.
    """
    make_folder(folder)
    try:
        for old in folder.glob("[0-9][0-9]-frame-*-face-*.png"):
            old.unlink()
    except OSError as error:
        raise SinkError(f"cannot write into {folder}: {error.strerror}") from error
    wanted: dict[int, list[int]] = defaultdict(list)
    for rank, each in enumerate(worst):
        wanted[each.frame].append(rank)
    paths = [folder / name for name in picture_names(worst)]
    with open_source(video) as source:
        for frame in source:
            for rank in wanted.pop(frame.index, ()):
                each = worst[rank]
                check_frame(names[0], source, frame, each.time if times else None, each.file)
                save_png(_picture(frame, each, names), paths[rank], overwrite=True)
            if not wanted:
                break
        if wanted:
            raise misfit(names[0], source, f"the video has no frame {min(wanted)}")
    return paths


def _picture(frame: Frame, worst: WorstFrame, names: tuple[str, str]) -> ImageArray:
    """The face with both sets of points, and lines between those that belong together."""
    known = np.isfinite(np.stack(worst.points)).all((0, 2))
    one, other = (points[known] for points in worst.points)
    both = np.concatenate([one, other])
    low, high = both.min(0), both.max(0)
    crops = Crops.around(np.concatenate([low, high - low])[None], _MARGIN)
    image = np.ascontiguousarray(warp([frame.image], [0], crops, _SIDE)[0].transpose(1, 2, 0))
    starts, ends = (_fixed(crops, points) for points in (one, other))
    cv2.polylines(image, [*np.stack([starts, ends], 1)], False, _LINK, 1, cv2.LINE_AA, _FRACTION_BITS)
    radius = (5 if len(one) < 40 else 3 if len(one) < 150 else 2) << _FRACTION_BITS
    for points, colour in zip((starts, ends), COMPARED_COLORS, strict=True):
        for point in points.tolist():
            cv2.circle(image, point, radius, colour, -1, cv2.LINE_AA, _FRACTION_BITS)
    title = np.full((_TITLE, _SIDE, 3), _BACK, np.uint8)
    place = worst.file or f"frame {worst.frame}, {worst.time:.2f} s"
    _write(title, f"{place}: {worst.percent:.1f} % ({worst.pixels:.1f} px), most at {worst.part}", 16, _INK)
    _write(title, f"A {names[0]}", 33, COMPARED_COLORS[0])
    _write(title, f"B {names[1]}", 33, COMPARED_COLORS[1], _SIDE // 2)
    return np.concatenate([title, image])


def _fixed(crops: Crops, points: FloatArray) -> np.ndarray:
    """(points, 2) pixels of the picture in OpenCV's fixed point."""
    return np.rint(crops.to_pixels(points[None], _SIDE)[0] * (1 << _FRACTION_BITS)).astype(np.int32)


def _write(image: ImageArray, text: str, bottom: int, colour: tuple[int, int, int], left: int = 6) -> None:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    cv2.putText(
        image,
        shown.encode("ascii", "replace").decode(),
        (left, bottom),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.42,
        colour,
        1,
        cv2.LINE_AA,
    )
