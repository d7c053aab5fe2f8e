"""Pictures for a report, out of the video of a table: thumbnails of frames, and faces with their points, as data addresses."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.fit import check_frame, check_size, misfit
from vtrack.types import Face, FloatArray, Frame, FrameResult, ImageArray

_MARGIN = 1.6
"""Side of the picture of a face over the longer side of its box."""
_QUALITY = 78
"""Of the JPEG."""
_FAR = 8.0
"""Seconds to the next picture from which the video is opened again there, instead of being decoded up to it."""
_BEFORE = 0.1
"""Seconds before a frame at which reading begins, since times in tables are rounded."""


@dataclass(frozen=True, eq=False, slots=True)
class StillRequest:
    """A picture that is wanted."""

    name: str
    """By which it is found again."""
    frame: int
    time: float
    file: str
    side: int
    """Width of a thumbnail, side of the square picture of a face, in pixels."""
    box: FloatArray | None = None
    """(4,) of the face; None for the whole frame."""
    points: FloatArray | None = None
    """(points, 2) to draw."""


@dataclass(frozen=True, slots=True)
class Still:
    """A picture."""

    address: str
    """`data:image/jpeg;base64,...`"""
    width: int
    height: int


def take_stills(
    requests: Sequence[StillRequest],
    results: TableResults,
    video: str,
) -> dict[str, Still]:
    """Take pictures out of a video.

    Args:
        requests: The pictures that are wanted.
        results: The table, for what it says of its video; rows are not read.
        video: The video, photographs or folder of images.

    Raises:
        UsageError: The table is not of this video.
        SourceError: The video cannot be read.
    """
    wanted: dict[int, list[StillRequest]] = defaultdict(list)
    for request in requests:
        wanted[request.frame].append(request)
    taken: dict[str, Still] = {}
    table, order = results.table, sorted(wanted)
    drawing = Drawing(results.query, ("points", "curves"))
    while order:
        first = wanted[order[0]][0]
        start = first.time - _BEFORE if table.timed and not first.file and first.time > _FAR else None
        with open_source(video, start=start) as source:
            if not source.info.photographs:
                check_size(results, source)
            seeks = table.timed and not source.info.is_live and not source.files
            for frame in source:
                while order and order[0] < frame.index:
                    raise misfit(table.path, source, f"the video has no frame {order[0]}")
                if not order or (seeks and wanted[order[0]][0].time - frame.time > _FAR):
                    break
                if frame.index == order[0]:
                    for request in wanted[order.pop(0)]:
                        check_frame(table.path, source, frame, request.time if table.timed else None, request.file)
                        taken[request.name] = _take(request, frame, results, drawing)
                    if not order:
                        break
            else:
                if order:
                    raise misfit(table.path, source, f"the video has no frame {order[0]}")
    return taken


def _take(request: StillRequest, frame: Frame, results: TableResults, drawing: Drawing) -> Still:
    if request.box is None:
        image, (width, height) = frame.image, frame.size
        size = request.side, max(round(request.side * height / width), 1)
        return _encoded(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    image = frame.image
    if request.points is not None and len(request.points):
        points = request.points
        face = Face(0, request.box, 1.0, points, np.zeros(len(points)), points, results.query)
        image = drawing(FrameResult(Frame(image, 0, 0, frame.time_base), (face,), results.query))
    crop = Crops.around(request.box[None], _MARGIN)
    return _encoded(np.ascontiguousarray(warp([image], [0], crop, request.side)[0].transpose(1, 2, 0)))


def _encoded(image: ImageArray) -> Still:
    """An image as JPEG."""
    content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    text = base64.b64encode(content.tobytes()).decode("ascii")
    return Still(f"data:image/jpeg;base64,{text}", image.shape[1], image.shape[0])
