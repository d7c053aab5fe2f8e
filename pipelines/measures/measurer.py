"""Measures of faces in results: shapes, head pose and blinks, all computed from the points of `MEASURE_QUERY`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vtrack.measures import Measures
from vtrack.pipelines.measures.blinks import BlinkDetector
from vtrack.pipelines.measures.head_pose import head_pose
from vtrack.pipelines.measures.points import MEASURE_QUERY, MEASURES
from vtrack.pipelines.measures.shapes import brow_raise, eye_opening, mouth_opening, smile_width
from vtrack.types import FloatArray, FrameResult, Query

_MEMORY = 60.0
"""Seconds for which the blinks of a missing face are remembered."""


class Measurer:
    """Adds measures to the faces of successive frames of one video."""

    def __init__(self) -> None:
        self._blink_detectors: dict[int, BlinkDetector] = {}

    def __call__(self, result: FrameResult) -> FrameResult:
        """Add `Face.measures` to the next result and remove the points of `MEASURE_QUERY`, with which its query ends."""
        count = len(result.query) - len(MEASURE_QUERY)
        query = Query(result.query.parts[:count], result.query.positions[:count], result.query.names[:count])
        # Ids are never reused, so faces that left long ago do not come back.
        self._blink_detectors = {
            track: detector
            for track, detector in self._blink_detectors.items()
            if result.time - detector.time < _MEMORY
        }
        if not result.faces:
            return replace(result, query=query)
        points = np.stack([face.points[count:] for face in result.faces])
        values = self.measure(points, result.frame.size, [face.id for face in result.faces], result.time)
        faces = tuple(
            replace(
                face,
                points=face.points[:count],
                sigma=face.sigma[:count],
                raw=face.raw[:count],
                query=query,
                measures=Measures(MEASURES, row),
            )
            for face, row in zip(result.faces, values, strict=True)
        )
        return replace(result, faces=faces, query=query)

    def measure(self, points: FloatArray, size: tuple[int, int], ids: list[int], time: float) -> FloatArray:
        """Measure the faces of the next frame.

        Args:
            points: (faces, points, 2) the points of `MEASURE_QUERY` in pixels.
            size: Width and height of the frame in pixels.
            ids: Track id of each face.
            time: Time of the frame in seconds.

        Returns:
            (faces, measures) in the order of `MEASURES`.
        """
        angles, unit = head_pose(points, size)
        eyes, brows = eye_opening(points), brow_raise(points, unit)
        detectors = [self._blink_detectors.setdefault(track, BlinkDetector(time)) for track in ids]
        openings = eyes.mean(-1).tolist()
        blink = [detector.update(opening, time) for detector, opening in zip(detectors, openings, strict=True)]
        blinks = [detector.blinks for detector in detectors]
        mouth, smile = mouth_opening(points, unit), smile_width(points)
        return np.column_stack([eyes, blink, blinks, mouth, smile, brows, angles])
