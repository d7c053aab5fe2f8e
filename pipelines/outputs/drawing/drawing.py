"""Drawing faces on frames: a smooth coloured line through each part, a dot on each point, and optionally box, id, axes
and bars of expressions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vtrack.imaging.planes import Pixels, Planes, film_colours
from vtrack.pipelines.outputs.drawing.bars import Bars
from vtrack.pipelines.outputs.drawing.curves import Splines, part_splines
from vtrack.pipelines.outputs.drawing.overlay import FixedPoints, Overlay
from vtrack.pipelines.outputs.drawing.palette import AXIS_COLORS, WIREFRAME_COLOR, Color, part_color, track_color
from vtrack.pipelines.outputs.drawing.wireframe import wireframe
from vtrack.pipelines.settings import OutputSettings
from vtrack.types import Face, FloatArray, FrameResult, ImageArray, Query

PixelsT = TypeVar("PixelsT", bound=Pixels)

SHARP, BLURRED = 0.025, 0.10
"""Sigma over the size of the face at which a point begins to fade, and at which it is faintest. Points that are hidden are
faintest, too."""
FAINTEST = 0.22
"""Opacity of the faintest points."""
PREDICTED = 0.45
"""Opacity of a face that was not seen in this frame."""
AXIS = 0.45
"""Length of the axes of a head, over the size of the face."""
_NEAREST_TIP = 0.5
"""Length of the axes, over the distance of the head, at most."""
LEVELS = 5
"""Number of levels of opacity; each level of each colour is one call to OpenCV."""

_PEN, _PEN_WIDTH = 2, 3.5
"""Thickness of lines as a parameter of OpenCV, and the width in overlay pixels of such a line with its soft edges.

The scale of overlays follows from it: finer than the frame for small faces, coarser for very large ones. So drawing costs
the same for all faces, and lines grow without steps.
"""


class Drawing:
    """Draws faces with the points of one query; call it with a result to get an annotated image.

    Args:
        query: The points of the faces.
        kinds: What to draw, see `DRAWINGS`; no axes of faces without a pose, and no bars of those without expressions.
        color: Colour of all but axes and bars; None for those of parts and tracks.
    """

    def __init__(
        self, query: Query, kinds: Collection[str] = OutputSettings.draw, *, color: Color | None = None
    ) -> None:
        self._kinds, self._color = frozenset(kinds), color
        self._splines = part_splines(query) if "curves" in self._kinds else None
        self._wireframe = wireframe(query) if "wireframe" in self._kinds else None
        names = list(dict.fromkeys(query.parts))
        self._colors = [color or part_color(name) for name in names]
        self._bars = Bars()
        self._color_of = np.array([names.index(part) for part in query.parts], np.intp)  # (points,)

    def __call__(self, result: FrameResult) -> ImageArray:
        """Return a copy of the frame's image with the faces on it; the image itself if there is nothing to draw."""
        if not self._changes(result):
            return result.frame.image
        image = result.frame.image
        return self._draw_all(np.zeros_like(image) if "black" in self._kinds else image.copy(), result)

    def pixels(self, result: FrameResult) -> Pixels:
        """Return the annotated frame for video encoding: planes stay planes if their colours are those of the video."""
        pixels = result.frame.pixels
        height, width = pixels.shape[:2]
        if isinstance(pixels, Planes) and pixels.colours == film_colours(height) and not (height % 2 or width % 2):
            if not self._changes(result):
                return pixels
            copy = pixels.copied()
            if "black" in self._kinds:
                for plane, _, black in copy.each:
                    plane[:] = black
            return self._draw_all(copy, result)
        return self(result)

    def _changes(self, result: FrameResult) -> bool:
        """Whether the picture of a result differs from its frame."""
        return "black" in self._kinds or bool(result.faces and self._kinds)

    def _draw_all(self, pixels: PixelsT, result: FrameResult) -> PixelsT:
        for face in sorted(result.faces, key=lambda face: face.box[3]):  # the nearest face on top
            self._draw(pixels, face)
        return pixels

    def _draw(self, pixels: Pixels, face: Face) -> None:
        size = float(np.sqrt(max(face.box[2] * face.box[3], 1.0)))
        width = 1.05 + 0.00875 * size
        axes = _axes(face, size, (pixels.shape[1], pixels.shape[0])) if "axes" in self._kinds else None
        overlay = Overlay.over(pixels, self._extent(face, size, axes), margin=2.5 * width + 2, scale=_PEN_WIDTH / width)
        if overlay is None:
            return
        opacity = _opacity(face, size)
        if "boxes" in self._kinds:
            self._draw_box(overlay, face)
        if self._wireframe is not None:
            self._draw_wireframe(overlay, self._wireframe, face, opacity)
        if self._splines is not None:
            self._draw_curves(overlay, self._splines, face, opacity)
        if "points" in self._kinds:
            self._draw_points(overlay, face, opacity)
        if axes is not None:
            _draw_axes(overlay, face, axes)
        if "ids" in self._kinds:
            overlay.label(str(face.id), face.box[:2], max(0.11 * size, 10.0), self._color_of_track(face))
        overlay.blend_into(pixels)
        if "expressions" in self._kinds:
            self._bars.draw(pixels, face, size, 1.0 if face.measured else PREDICTED)

    def _extent(self, face: Face, size: float, axes: FloatArray | None) -> FloatArray:
        """Return points (n, 2) that the overlay must cover."""
        extent = [face.points, *([] if axes is None else [axes])]
        if self._kinds & {"boxes", "ids"}:
            x, y, w, h = face.box
            label = 0.25 * size + 12 if "ids" in self._kinds else 0.0
            extent.append(np.array([[x, y - label], [x + max(w, 2 * label), y + h]]))
        return np.concatenate(extent)

    def _draw_curves(self, overlay: Overlay, splines: Splines, face: Face, opacity: FloatArray) -> None:
        samples = splines.evaluate(face.points)
        lines, levels = overlay.to_fixed(samples), _levels(splines.interpolate(opacity))
        # Where a point is not there, neither is the line beside it.
        levels[~np.isfinite(samples).all(1)] = 0
        # A line is split where its opacity level changes; each piece overlaps the next by one sample.
        cuts = np.union1d(splines.starts, np.flatnonzero(np.diff(levels)) + 1)
        ends = splines.starts[np.searchsorted(splines.starts, cuts[:-1], side="right")]
        strokes: dict[tuple[int, int], list[FixedPoints]] = defaultdict(list)
        for start, stop, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), ends.tolist(), strict=True):
            if not levels[start]:
                continue
            color = int(self._color_of[splines.neighbours[start, 1]])
            strokes[color, int(levels[start])].append(lines[start : stop + (stop < end and levels[stop] > 0)])
        for (color, level), pieces in strokes.items():
            overlay.stroke(pieces, _PEN, self._colors[color], level / LEVELS)

    def _draw_wireframe(self, overlay: Overlay, lines: npt.NDArray[np.intp], face: Face, opacity: FloatArray) -> None:
        ends = overlay.to_fixed(face.points)[lines]  # (lines, 2, 2)
        levels = np.minimum(*_levels(opacity)[lines].T)
        levels[~np.isfinite(face.points[lines]).all((1, 2))] = 0
        for level in range(1, LEVELS + 1):
            overlay.stroke(list(ends[levels == level]), 0.5 * _PEN, self._color or WIREFRAME_COLOR, level / LEVELS)

    def _draw_points(self, overlay: Overlay, face: Face, opacity: FloatArray) -> None:
        shown = np.flatnonzero(np.isfinite(face.points).all(1))
        # A line from a point to itself is drawn as a dot.
        dots = np.repeat(overlay.to_fixed(face.points)[:, None], 2, 1)  # (points, 2, 2)
        keys = self._color_of * (LEVELS + 1) + _levels(opacity)
        shown = shown[np.argsort(keys[shown], kind="stable")]
        for some in np.split(shown, np.flatnonzero(np.diff(keys[shown])) + 1):
            if not len(some):  # of no points
                continue
            color, level = divmod(int(keys[some[0]]), LEVELS + 1)
            tint, across = self._colors[color], 2.5 * _PEN
            if self._splines is not None:
                tint, across = _toward_white(tint), 1.75 * _PEN
            overlay.stroke(list(dots[some]), across, tint, level / LEVELS)

    def _draw_box(self, overlay: Overlay, face: Face) -> None:
        x, y, w, h = face.box
        arm = 0.16 * min(w, h)
        corners = [
            overlay.to_fixed(np.array([[cx, cy + dy], [cx, cy], [cx + dx, cy]]))
            for cx, dx in ((x, arm), (x + w, -arm))
            for cy, dy in ((y, arm), (y + h, -arm))
        ]
        overlay.stroke(corners, _PEN, self._color_of_track(face), 1.0 if face.measured else PREDICTED)

    def _color_of_track(self, face: Face) -> Color:
        return self._color or track_color(face.id)


def _axes(face: Face, size: float, frame: tuple[int, int]) -> FloatArray | None:
    """Return the pixels (4, 2) of the origin of a head and of the ends of its x, its y, and its z towards the viewer."""
    if face.pose is None or not np.isfinite(face.pose.array).all():
        return None
    # A head that fills the view of a wide camera is near, and an axis towards the viewer must not end behind the camera.
    length = min(AXIS * size / face.pose.focal, _NEAREST_TIP) * face.pose.translation[2]
    ends = face.pose.project(length * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, -1]]), frame)
    return ends if np.isfinite(ends).all() else None


def _draw_axes(overlay: Overlay, face: Face, ends: FloatArray) -> None:
    """Draw the axes of a head, the farthest end first."""
    assert face.pose is not None
    origin, *tips = overlay.to_fixed(ends)
    depth = face.pose.rotation[2] * (1, 1, -1)
    for i in np.argsort(-depth).tolist():
        line = np.array([origin, tips[i]])
        overlay.stroke([line], 3 * _PEN, AXIS_COLORS[i], 1.0 if face.measured else PREDICTED)


def _opacity(face: Face, size: float) -> FloatArray:
    """Return the opacity of each point (points,)."""
    blur = np.clip((face.sigma / size - SHARP) / (BLURRED - SHARP), 0.0, 1.0)
    # A point without a sigma among others was placed absurdly; tables of other programs have no sigma at all.
    unknown = 0.0 if np.isnan(blur).all() else 1.0
    faded = np.nan_to_num(blur, nan=unknown)
    if face.hidden is not None:
        faded = np.fmax(faded, face.hidden)
    opacity: FloatArray = 1.0 - (1.0 - FAINTEST) * faded
    return opacity if face.measured else opacity * PREDICTED


def _levels(opacity: FloatArray) -> npt.NDArray[np.intp]:
    """Return the level of each opacity, 1 to `LEVELS`."""
    return np.clip(np.rint(opacity * LEVELS), 1, LEVELS).astype(np.intp)


def _toward_white(color: Color) -> Color:
    red, green, blue = (round(value + (255 - value) * 0.6) for value in color)
    return red, green, blue
