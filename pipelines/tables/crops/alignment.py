"""Where the crop of a face lies: the similarity that brings its points to those of the face template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtrack.errors import UsageError
from vtrack.imaging.crops import Crops
from vtrack.pipelines.settings import CropSettings
from vtrack.pipelines.tables.comparison.points import Places, eye_corners
from vtrack.query import parse_query
from vtrack.template import load_template
from vtrack.types import FloatArray, Query

_MOUTH = ("lip", "mouth", "chin", "philtrum", "smile_line", "neck", "ear", "hair")
"""Words in the names of parts that the mouth moves, or that are no part of the face proper."""
_CHIN = (0.2, 0.8)
"""Positions on the jaw between which the mouth moves it."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """A similarity from the face template to a frame: `frame = factor * template + shift` in complex numbers."""

    factor: complex
    """Pixels for the distance between the outer eye corners, and the roll."""
    anchor: complex
    """The place in the frame that stays where it is if the scale changes."""
    origin: complex
    """The same place on the template."""

    def scaled(self, scale: float) -> Alignment:
        """The same place and roll at another scale, in pixels for the distance between the outer eye corners."""
        return Alignment(self.factor / abs(self.factor) * scale, self.anchor, self.origin)


class FaceAligner:
    """Finds the alignment of faces, and the crops that show them.

    Crops are squares around the face of the template: the outer eye corners or, by least squares, all points that the mouth
    does not move, lie where they do on the template.

    Args:
        query: The points of the faces.
        settings: What is aligned, and how much the crop shows.

    Raises:
        UsageError: The query lacks the points.
    """

    def __init__(self, query: Query, settings: CropSettings) -> None:
        box = load_template().locate(parse_query("300w"))
        low, high = box.min(0), box.max(0)
        self.center, self.side = complex(*(low + high) / 2), float((high - low).max()) * settings.margin
        self._places, targets = _eyes(query) if settings.align == "eyes" else _whole(query)
        self._targets = _complex(targets)

    def align(self, points: FloatArray) -> Alignment | None:
        """The alignment of a face with points (points, 2); None if too few of them are known."""
        places = _complex(self._places.of(points))
        known = np.isfinite(places)
        if known.sum() < 2:
            return None
        places, targets = places[known], self._targets[known]
        anchor, origin = complex(places.mean()), complex(targets.mean())
        spread = float(np.square(np.abs(targets - origin)).sum())
        factor = complex((np.conj(targets - origin) * (places - anchor)).sum()) / spread if spread > 0 else 0j
        return Alignment(factor, anchor, origin) if abs(factor) > 0 else None

    def crop(self, alignment: Alignment) -> Crops:
        """The crop of an aligned face."""
        center = alignment.anchor + alignment.factor * (self.center - alignment.origin)
        return Crops(
            np.array([[center.real, center.imag]]),
            np.array([abs(alignment.factor) * self.side]),
            np.array([np.angle(alignment.factor)]),
        )

    def eye_corners(self, size: int) -> list[list[float]]:
        """Where the outer eye corners of the template lie in crops of a size, in pixels: left, right."""
        ends = [(complex(end) - self.center) / self.side * size + complex(0.5, 0.5) * (size - 1) for end in (-0.5, 0.5)]
        return [[end.real, end.imag] for end in ends]


def frame_to_crop(crop: Crops, size: int) -> FloatArray:
    """(2, 3) the similarity from pixels of the frame to those of a crop of this size."""
    back = crop.matrices(size)[0]
    there = np.linalg.inv(back[:, :2])
    return np.column_stack([there, -there @ back[:, 2]])


def _eyes(query: Query) -> tuple[Places, FloatArray]:
    """The outer eye corners."""
    places = eye_corners(query)
    if places is None:
        raise UsageError(
            "the table has no eye corners, which crops are aligned by; track eyes (300w, face), or align=face for other points"
        )
    return places, np.array([[-0.5, 0.0], [0.5, 0.0]])


def _whole(query: Query) -> tuple[Places, FloatArray]:
    """All points of the template that the mouth does not move; all that there are, where these are fewer than three."""
    template = load_template()
    there = [i for i, part in enumerate(query.parts) if part in template.curves]
    still = [i for i in there if not _is_moved(query.parts[i], query.positions[i])]
    chosen = still if len(still) >= 3 else there
    if len(chosen) < 2:
        raise UsageError("the table has fewer than two points that the face template knows; crops cannot be aligned")
    located = template.locate(Query(*zip(*[(query.parts[i], query.positions[i]) for i in chosen], strict=True)))
    return Places(np.array(chosen)[:, None], np.ones((len(chosen), 1))), located


def _is_moved(part: str, position: float) -> bool:
    """Whether the mouth moves a point."""
    if "jaw" in part:
        return _CHIN[0] < position < _CHIN[1]
    return any(word in part for word in _MOUTH)


def _complex(points: FloatArray) -> np.ndarray:
    return points[..., 0] + 1j * points[..., 1]
