"""Tracking frame by frame, each result at once: what a camera, and a loop of one's own, need."""

from __future__ import annotations

from dataclasses import replace

from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.postprocessing import Postprocessor, make_smoother, to_result
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.sources.scene_cuts import CutDetector
from vtrack.pipelines.tracking.landmarks import Landmarker
from vtrack.pipelines.tracking.online import OnlineFollower
from vtrack.types import Frame, FrameResult


class OnlineTracker:
    """Takes frames in order and gives each its result before the next is there. Close it after the last one.

    Args:
        pipeline: The models.
        settings: What to track; its smoothing looks at no later frames.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline = pipeline
        self._cuts = CutDetector()
        self._follower = OnlineFollower(
            pipeline.detector,
            Landmarker(pipeline.model, settings.landmark_query),
            max_faces=settings.max_faces,
            detect_every=settings.detect_every,
            confidence=settings.confidence,
        )
        self._smoother, self._finish = make_smoother(settings), Postprocessor(settings)

    def step(self, frame: Frame) -> FrameResult:
        """Track the next frame."""
        frame = replace(frame, cut=True) if self._cuts.is_cut(frame.pixels) else frame
        frame, sightings = self._follower.step(frame)
        # Smoothing without looking ahead holds nothing back.
        (smoothed,) = self._smoother.push(to_result(frame, sightings, self._follower.landmarker.query))
        return self._finish(smoothed)

    def change(self, settings: Settings) -> None:
        """Track other points, or smooth them otherwise, from the next frame on.

        Tracks know faces by their anchors, which every query has: identities go on.
        """
        self._follower.landmarker.close()
        self._follower.landmarker = Landmarker(self._pipeline.model, settings.landmark_query)
        self._smoother, self._finish = make_smoother(settings), self._finish.with_settings(settings)

    def close(self) -> None:
        """End all threads."""
        self._follower.close()
