"""Results made by hand, for tests of what uses results."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vtrack.imaging.planes import Pixels
from vtrack.pipelines.sources.open import open_source
from vtrack.types import Face, Frame, FrameResult, Query

QUERY = Query(("left_eye", "left_eye", "jaw"), (0.0, 0.5, 0.25))


def make_face(query: Query = QUERY, number: int = 1, at: float = 10.0, **changes: object) -> Face:
    """A face whose point i lies at (at + i, at + 2 i) with sigma (i + 1) / 2."""
    places = at + np.arange(len(query))[:, None] * np.array([1.0, 2.0])
    facts = {
        "id": number,
        "box": np.array([at, at, 40.0, 50.0]),
        "presence": 0.975,
        "points": places,
        "sigma": (np.arange(len(query)) + 1) / 2,
        "raw": places + 0.25,
        "query": query,
        **changes,
    }
    return Face(**facts)  # type: ignore[arg-type]


def make_result(
    index: int, *faces: Face, image: Pixels | None = None, query: Query = QUERY, step: int = 1001
) -> FrameResult:
    """Frame `index` of a video of 30000/1001 fps, with faces."""
    image = np.zeros((48, 64, 3), np.uint8) if image is None else image
    return FrameResult(Frame(image, index, index * step, Fraction(1, 30000)), faces, query)


def results_of(path: Path, **selection: float) -> Iterator[FrameResult]:
    """The frames of a clip, without faces."""
    with open_source(path, **selection) as source:  # type: ignore[arg-type]
        for frame in source:
            yield FrameResult(frame, (), QUERY)
