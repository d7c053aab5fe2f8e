"""Measures of faces in results: shapes, eyes, heads in space, expressions, all of points that the pipeline adds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vtrack.measures import Expressions, EyeEvent, HeadPose, Measures, Points3d
from vtrack.pipelines.measures.expressions.finder import ExpressionFinder
from vtrack.pipelines.measures.eyes import MAX_GAP, EyeWatcher
from vtrack.pipelines.measures.face_fit import FaceFit
from vtrack.pipelines.measures.head_pose import HeadPoses, angles
from vtrack.pipelines.measures.points import EXPRESSION_QUERY, MEASURE_QUERY, MEASURES
from vtrack.pipelines.measures.pose import EYES, EyeDistance, head_poses
from vtrack.pipelines.measures.shapes import measure_shapes
from vtrack.types import FloatArray, FrameResult, Query

_MEMORY = 60.0
"""Seconds for which the open eyes and the blinks of a missing face are remembered."""


class LocatedPoints(NamedTuple):
    """Points of the faces of one frame."""

    query: Query
    points: FloatArray
    """(faces, points, 2) in pixels."""
    sigma: FloatArray
    """(faces, points) their standard deviations in pixels."""


class MeasuredFace(NamedTuple):
    """What is measured of one face in one frame."""

    measures: Measures
    pose: HeadPose | None
    points3d: Points3d | None
    expressions: Expressions | None


class Measurer:
    """Adds measures, poses, points in space, expressions and events to the faces of successive frames of one video.

    Args:
        measures: Whether faces get measures and events.
        pose: Whether faces get poses.
        points3d: Whether faces get their points in space.
        distance: Distance between the outer corners of the eyes in the unit of poses and points in space.
        fov: Angle of view of the camera along the longer side of the frame in degrees; None if nothing is known of it.
        expressions: Whether faces get expressions.
        neutral: Time in seconds at which faces are neutral; None to find out.
        photographs: Whether each frame is a photograph by itself, which does not tell how far open eyes are.
    """

    def __init__(
        self,
        *,
        measures: bool = True,
        pose: bool = False,
        points3d: bool = False,
        distance: EyeDistance = EYES,
        fov: float | None = None,
        expressions: bool = False,
        neutral: float | None = None,
        photographs: bool = False,
    ) -> None:
        self._measures, self._pose, self._points3d = measures, pose, points3d
        self._distance, self._photographs = distance, photographs
        self._watchers: dict[int, EyeWatcher] = {}
        self._heads = HeadPoses(photographs=photographs, fov=fov)
        self._expressions = ExpressionFinder(neutral) if expressions else None
        self._added = len(EXPRESSION_QUERY if expressions else MEASURE_QUERY)

    def __call__(self, result: FrameResult) -> FrameResult:
        """Add what was asked for to the next result, and remove the points that it is computed from.

        Its query ends with them.
        """
        count = len(result.query) - self._added
        query = Query(result.query.parts[:count], result.query.positions[:count], result.query.names[:count])
        self._forget(result)
        if not result.faces:
            return replace(result, query=query, events=self._take_events())
        points, sigma = (np.stack([getattr(face, name) for face in result.faces]) for name in ("points", "sigma"))
        ids, asked = [face.id for face in result.faces], LocatedPoints(query, points[:, :count], sigma[:, :count])
        measured = self.measure(points[:, count:], sigma[:, count:], result.frame.size, ids, result.time, asked)
        faces = tuple(
            replace(
                face,
                points=face.points[:count],
                sigma=face.sigma[:count],
                raw=face.raw[:count],
                hidden=None if face.hidden is None else face.hidden[:count],
                query=query,
                measures=measures,
                pose=pose,
                points3d=points3d,
                expressions=expressions,
            )
            for face, (measures, pose, points3d, expressions) in zip(result.faces, measured, strict=True)
        )
        return replace(result, faces=faces, query=query, events=self._take_events())

    def finish(self) -> tuple[EyeEvent, ...]:
        """Return the events that go on when the video ends."""
        for watcher in self._watchers.values():
            watcher.interrupt()
        if self._expressions is not None:
            self._expressions.check(math.inf)
        return self._take_events()

    def measure(
        self,
        points: FloatArray,
        sigma: FloatArray,
        size: tuple[int, int],
        ids: list[int],
        time: float,
        asked: LocatedPoints | None = None,
    ) -> list[MeasuredFace]:
        """Measure the faces of the next frame.

        Args:
            points: (faces, points, 2) the points of `MEASURE_QUERY` in pixels; with expressions, those of `EXPRESSION_QUERY`.
            sigma: (faces, points) their standard deviations in pixels.
            size: Width and height of the frame in pixels.
            ids: Track id of each face.
            time: Time of the frame in seconds.
            asked: The points that are placed in space.
        """
        expressions: list[Expressions] | list[None] = [None] * len(ids)
        every, deviations = points, sigma
        points, sigma = points[:, : len(MEASURE_QUERY)], sigma[:, : len(MEASURE_QUERY)]
        heads, unit = self._heads.update(points, sigma, size, ids, time)
        if self._expressions is not None:
            expressions = self._expressions.update(every, deviations, size, heads, ids, time)
        measures = [Measures.none()] * len(ids)
        if self._measures:
            values = self._values(points, sigma, heads, unit, ids, time)
            measures = [Measures(MEASURES, row) for row in values]
        poses = head_poses(heads, self._distance) if self._pose else [None] * len(ids)
        in_space: list[Points3d] | list[None] = [None] * len(ids)
        if self._points3d and asked is not None:
            # Not imported above, because it takes a second; where it is needed, the pipeline has prepared it.
            from vtrack.pipelines.measures.points3d import points_in_space

            in_space = points_in_space(heads, *asked, size, self._distance)
        return list(map(MeasuredFace, measures, poses, in_space, expressions))

    def _values(
        self,
        points: FloatArray,
        sigma: FloatArray,
        heads: FaceFit,
        unit: FloatArray,
        ids: list[int],
        time: float,
    ) -> FloatArray:
        """(faces, measures) in the order of `MEASURES`."""
        eyes, eyes_sigma, mouth, smile, brows = measure_shapes(points, sigma, unit)
        self._watchers |= {track: EyeWatcher(track) for track in ids if track not in self._watchers}
        watchers = [self._watchers[track] for track in ids]
        openings, deviations = eyes.tolist(), eyes_sigma.tolist()
        states = np.array(
            [
                watcher.update(opening, deviation, time)
                for watcher, opening, deviation in zip(watchers, openings, deviations, strict=True)
            ]
        )
        openness, (blink, blinks), perclos = states[:, :4], states[:, 4:6].T, states[:, 6]
        if self._photographs:
            openness = np.full_like(openness, np.nan)
        return np.column_stack([eyes, blink, blinks, mouth, smile, brows, angles(heads.rotation), openness, perclos])

    def _forget(self, result: FrameResult) -> None:
        """End what the eyes of missing faces did, and forget faces that left long ago: ids are never reused."""
        seen = {face.id for face in result.faces}
        for track, watcher in list(self._watchers.items()):
            missing = result.time - watcher.time if watcher.time is not None else 0.0
            if result.frame.cut or (track not in seen and missing > MAX_GAP):
                watcher.interrupt()
            if missing >= _MEMORY and not watcher.events:
                del self._watchers[track]
        self._heads.forget(result.time - _MEMORY)
        if self._expressions is not None:
            self._expressions.check(result.time)
            self._expressions.forget(result.time - _MEMORY)

    def _take_events(self) -> tuple[EyeEvent, ...]:
        """Return the events that have ended since the last call, in order of their ends."""
        events = [event for watcher in self._watchers.values() for event in watcher.events]
        for watcher in self._watchers.values():
            watcher.events.clear()
        return tuple(sorted(events, key=lambda event: event.lids.end))
