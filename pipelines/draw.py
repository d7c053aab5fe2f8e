"""Drawing faces on frames: a smooth coloured line through each part, a dot on each point, a box and a number if asked.

Everything is drawn on a small transparent sheet over the face, finer than the picture where the face is small, and then
laid on it: lines have any width, so they do not flicker as a face grows, and can be faint. A soft dark rim keeps them
readable on skin, on white and on black. Widths follow the face's size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.curves import curves_of
from pipelines.palette import Color, part_color, track_color
from vtrack.errors import UsageError
from vtrack.types import Face, FloatArray, FrameResult, ImageArray, Query

KINDS = ("points", "curves", "boxes", "ids")
DEFAULT = ("points", "curves")


SHARP, BLURRED = 0.025, 0.10
"""Sigma over the face's size at which a point begins to fade, and at which it is as faint as can be."""
FAINTEST = 0.22
PREDICTED = 0.45
"""How strongly a face is drawn that was not seen in this frame."""
LEVELS = 5
"""Steps of faintness; each step of each colour is one call to OpenCV."""

_SHEET_SIDE = 560
"""Small faces are drawn finer, up to sheets of about this many pixels."""
_SHIFT = 4
"""Fractional bits of the coordinates given to OpenCV."""
_RIM: Color = (8, 10, 16)
_RIM_OPACITY = 0.5


def parse_kinds(text: str) -> frozenset[str]:
    """`points,curves,boxes,ids` or any of them, or `none`."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return frozenset()
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        raise UsageError(f"cannot draw {', '.join(unknown) or 'nothing'!s}; choose from {', '.join(KINDS)}, or none")
    return frozenset(names)


class Drawing:
    """Draws the results of one query. Called with a result, it gives its picture with the faces on it."""

    def __init__(self, query: Query, kinds: Collection[str] = DEFAULT) -> None:
        self._kinds = frozenset(kinds)
        self._colors = [part_color(part) for part in query.parts]
        self._curves = curves_of(query) if "curves" in self._kinds else []

    def __call__(self, result: FrameResult) -> ImageArray:
        """The frame's own image where there is nothing to draw, a copy with the faces on it otherwise."""
        if not result.faces or not self._kinds:
            return result.frame.image
        image = result.frame.image.copy()
        for face in sorted(result.faces, key=lambda face: face.box[3]):  # the nearest on top
            self._draw(image, face)
        return image

    def _draw(self, image: ImageArray, face: Face) -> None:
        size = float(np.sqrt(max(face.box[2] * face.box[3], 1.0)))
        width = 0.9 + 0.0045 * size
        sheet = Sheet.over(image, self._reach(face, size), margin=3 * width + 2)
        if sheet is None:
            return
        opacity = _opacity(face, size)
        if "boxes" in self._kinds:
            self._draw_box(sheet, face, width)
        if self._curves:
            self._draw_curves(sheet, face, opacity, width)
        if "points" in self._kinds:
            self._draw_points(sheet, face, opacity, width)
        if "ids" in self._kinds:
            self._draw_id(sheet, face, size)
        sheet.lay_on(image)

    def _reach(self, face: Face, size: float) -> FloatArray:
        """(n, 2) points that the sheet must cover."""
        reach = [face.points]
        if self._kinds & {"boxes", "ids"}:
            x, y, w, h = face.box
            label = 0.25 * size + 12 if "ids" in self._kinds else 0.0
            reach.append(np.array([[x, y - label], [x + max(w, 2 * label), y + h]]))
        return np.concatenate(reach)

    def _draw_curves(self, sheet: Sheet, face: Face, opacity: FloatArray, width: float) -> None:
        strokes: dict[tuple[Color, int], list[FloatArray]] = defaultdict(list)
        for curve in self._curves:
            line = curve.line(face.points)
            if not np.isfinite(line).all():
                continue
            levels = _levels(curve.along(opacity))
            ends = np.flatnonzero(np.diff(levels)) + 1
            for start, stop in zip([0, *ends], [*ends, len(line)], strict=True):
                # One sample more, so that pieces meet.
                strokes[self._colors[curve.nodes[0]], int(levels[start])].append(line[start : stop + 1])
        rim = width + 2 * max(0.7, 0.3 * width)
        for (_, level), lines in strokes.items():
            sheet.lines(lines, rim, _RIM, _RIM_OPACITY * level / LEVELS)
        for (color, level), lines in strokes.items():
            sheet.lines(lines, width, color, level / LEVELS)

    def _draw_points(self, sheet: Sheet, face: Face, opacity: FloatArray, width: float) -> None:
        dots: dict[tuple[Color, int], list[FloatArray]] = defaultdict(list)
        for color, level, point in zip(self._colors, _levels(opacity).tolist(), face.points, strict=True):
            if np.isfinite(point).all():
                dots[color, level].append(point[None])
        across = (1.7 if self._curves else 2.2) * width
        if not self._curves:
            for (_, level), places in dots.items():
                sheet.lines(places, across + 2 * max(0.7, 0.3 * width), _RIM, _RIM_OPACITY * level / LEVELS)
        for (color, level), places in dots.items():
            tint = _toward_white(color) if self._curves else color
            sheet.lines(places, across, tint, level / LEVELS)

    def _draw_box(self, sheet: Sheet, face: Face, width: float) -> None:
        x, y, w, h = face.box
        arm = 0.16 * min(w, h)
        corners = []
        for cx, dx in ((x, arm), (x + w, -arm)):
            for cy, dy in ((y, arm), (y + h, -arm)):
                corners.append(np.array([[cx, cy + dy], [cx, cy], [cx + dx, cy]]))
        strength = 1.0 if face.measured else PREDICTED
        sheet.lines(corners, width + 2 * max(0.7, 0.3 * width), _RIM, _RIM_OPACITY * strength)
        sheet.lines(corners, width, track_color(face.id), strength)

    def _draw_id(self, sheet: Sheet, face: Face, size: float) -> None:
        sheet.label(str(face.id), face.box[:2], max(0.11 * size, 10.0), track_color(face.id))


@dataclass(eq=False, slots=True)
class Sheet:
    """A transparent picture over part of a frame: colours times opacity, and opacity."""

    left: int
    top: int
    width: int
    height: int
    fine: int
    """Pixels of the sheet for each pixel of the frame."""
    ink: npt.NDArray[np.uint8]
    """(height * fine, width * fine, 4)."""

    @classmethod
    def over(cls, image: ImageArray, points: FloatArray, margin: float) -> Sheet | None:
        """A sheet over the points and a margin, as far as they lie in the frame; None where they do not."""
        finite = points[np.isfinite(points).all(1)]
        if not len(finite):
            return None
        height, width = image.shape[:2]
        left, top = np.clip(np.floor(finite.min(0) - margin), 0, (width, height)).astype(int).tolist()
        right, bottom = np.clip(np.ceil(finite.max(0) + margin) + 1, 0, (width, height)).astype(int).tolist()
        if right <= left or bottom <= top:
            return None
        fine = int(np.clip(_SHEET_SIDE // max(right - left, bottom - top), 1, 4))
        ink = np.zeros(((bottom - top) * fine, (right - left) * fine, 4), np.uint8)
        return cls(left, top, right - left, bottom - top, fine, ink)

    def lines(self, lines: Sequence[FloatArray], width: float, color: Color, opacity: float) -> None:
        """Lines (n, 2) in frame pixels; one of a single point is a dot."""
        places = [self._places(line) for line in lines]
        thickness = max(round(width * self.fine), 1)
        cv2.polylines(self.ink, places, False, _premultiplied(color, opacity), thickness, cv2.LINE_AA, _SHIFT)

    def label(self, text: str, corner: FloatArray, height: float, color: Color) -> None:
        """Text on a pill of the colour, its lower left corner at `corner`."""
        font, tall = cv2.FONT_HERSHEY_DUPLEX, height * self.fine
        scale = tall / 22 * 0.62
        stroke = max(round(scale * 1.2), 1)
        (wide, high), _ = cv2.getTextSize(text, font, scale, stroke)
        x, y = ((corner - (self.left, self.top)) * self.fine).tolist()
        middle = y - tall * 0.75
        pad = tall * 0.5
        pill = np.array([[x + pad, middle], [x + pad + max(wide - pad * 0.6, 0), middle]])
        ends = [(pill * 2**_SHIFT).round().astype(np.int32)]
        for thick, ink in (
            (tall + 2 * self.fine, _premultiplied(_RIM, _RIM_OPACITY)),
            (tall, _premultiplied(color, 0.95)),
        ):
            cv2.polylines(self.ink, ends, False, ink, max(round(thick), 1), cv2.LINE_AA, _SHIFT)
        at = (round(float(pill[:, 0].mean()) - wide / 2), round(middle + high / 2))
        cv2.putText(self.ink, text, at, font, scale, _premultiplied(_RIM, 1.0), stroke, cv2.LINE_AA)

    def lay_on(self, image: ImageArray) -> None:
        """Blend the sheet into the frame."""
        ink = self.ink
        if self.fine > 1:
            ink = cv2.resize(ink, (self.width, self.height), interpolation=cv2.INTER_AREA)
        area = image[self.top : self.top + self.height, self.left : self.left + self.width]
        through = cv2.cvtColor(cv2.bitwise_not(ink[:, :, 3]), cv2.COLOR_GRAY2RGB)
        beneath = cv2.multiply(area, through, scale=1 / 255)
        cv2.add(beneath, ink[:, :, :3], dst=area)

    def _places(self, line: FloatArray) -> npt.NDArray[np.int32]:
        """Points in the sheet's fixed-point coordinates; far ones are brought near enough for OpenCV."""
        places = (line - (self.left, self.top) + 0.5) * self.fine - 0.5
        return (np.clip(places, -16000, 16000) * 2**_SHIFT).round().astype(np.int32)


def _opacity(face: Face, size: float) -> FloatArray:
    """(points,) how strongly each point is drawn."""
    doubt = np.clip((face.sigma / size - SHARP) / (BLURRED - SHARP), 0.0, 1.0)
    opacity: FloatArray = (1.0 - (1.0 - FAINTEST) * np.nan_to_num(doubt, nan=1.0)) * (
        1.0 if face.measured else PREDICTED
    )
    return opacity


def _levels(opacity: FloatArray) -> npt.NDArray[np.intp]:
    return np.clip(np.rint(opacity * LEVELS), 1, LEVELS).astype(np.intp)


def _premultiplied(color: Color, opacity: float) -> tuple[float, float, float, float]:
    red, green, blue = color
    return red * opacity, green * opacity, blue * opacity, 255 * opacity


def _toward_white(color: Color) -> Color:
    red, green, blue = (round(value + (255 - value) * 0.6) for value in color)
    return red, green, blue
