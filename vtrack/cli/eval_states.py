"""`vtrack eval --states`: a landmark model where faces move."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vtrack.types import FloatArray, LandmarkModel

_ONSET_FRAMES = 2
"""Frames by which the start of a blink may differ from its mark."""
_SIGMA = 0.005
"""Standard deviation of annotated points, in sides of the frame."""
_MEDIAPIPE = "mediapipe"
"""What stands for mediapipe's face mesh where a model is named."""


def run(model: str, folder: Path, *, device: str, engine: str, as_json: bool) -> int:
    """Measure, and print the table."""
    from vtrack.evaluation.states import measure
    from vtrack.pipelines.bench.blinks import BlinkScore, marked_clips, score
    from vtrack.pipelines.measures.events import Counts

    network = _load(model, device, engine)
    figures = measure(network, folder, _yaw)
    clips = {clip.stem: score(network, clip) for clip in marked_clips(folder / "clips" / "blinks")}
    scores = {**clips, "all": sum(clips.values(), BlinkScore(Counts(0, 0, 0), ()))}
    if as_json:
        blinks = {
            name: {**asdict(each.counts), "f1": round(each.counts.f1, 4), "onsets": np.round(each.onsets, 2).tolist()}
            for name, each in scores.items()
        }
        report = {"model": network.name, "figures": [asdict(figure) for figure in figures], "blinks": blinks}
        print(json.dumps(report, indent=2))
        return 0
    print(f"{network.name}: where faces move; errors and gaps in % of the distance between the outer eye corners")
    for figure in figures:
        print(f"  {figure.name:16} {figure.value:8.3f}  {figure.meaning} ({figure.count})")
    for name, each in scores.items():
        counts, near = each.counts, sum(abs(onset) <= _ONSET_FRAMES for onset in each.onsets)
        print(
            f"  blinks {name:24} {counts.true:3} found, {counts.false} false, {counts.missed} missed; F1 {counts.f1:.3f}; "
            f"{near} start within {_ONSET_FRAMES} frames of the mark"
        )
    return 0


def _load(model: str, device: str, engine: str) -> LandmarkModel:
    """A landmark model by name, or mediapipe's mesh."""
    if model == _MEDIAPIPE:
        from vtrack.evaluation.mediapipe_mesh import MediapipeMesh

        return MediapipeMesh()
    from vtrack.models import load_model

    return load_model(model, device=device, engine=engine)


def _yaw(points: FloatArray) -> FloatArray:
    """(faces,) degrees by which heads with these 68 points (faces, 68, 2) are turned, each in the middle of a wide frame."""
    from vtrack.layouts import load_layout
    from vtrack.pipelines.measures.head_pose import angles, fit_heads
    from vtrack.pipelines.measures.points import MEASURE_QUERY

    query = load_layout("300w").query
    place = {
        (part, round(position, 4)): i
        for i, (part, position) in enumerate(zip(query.parts, query.positions, strict=True))
    }
    chosen = [place[part, round(at, 4)] for part, at in zip(MEASURE_QUERY.parts, MEASURE_QUERY.positions, strict=True)]
    turns = np.empty(len(points))
    for i, face in enumerate(points):
        side = int(3 * np.ptp(face, axis=0).max())
        moved = face - face.mean(0) + side / 2
        sigma = np.full((1, len(chosen)), _SIGMA * side)
        turns[i] = angles(fit_heads(moved[None, chosen], sigma, (side, side))[0].rotation)[0, 0]
    return turns
