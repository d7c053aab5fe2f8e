"""Drawing faces on frames: a smooth coloured line through each part, a dot on each point, a box and a number if asked.

Everything is drawn on a small transparent sheet over the face, on which lines are always equally wide, and the sheet is
laid on the picture at the face's scale: lines can have any width, so they do not jump as a face grows, and be faint. A
soft shadow keeps them readable on skin, on white and on black.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.imaging.planes import Colours, Pixels, Planes, film_colours
from vtrack.pipelines.outputs.drawing.curves import Splines, part_splines
from vtrack.pipelines.outputs.drawing.palette import Color, part_color, track_color
from vtrack.pipelines.settings import OutputSettings
from vtrack.types import Face, FloatArray, FrameResult, ImageArray, Query

PixelsT = TypeVar("PixelsT", bound=Pixels)

Places = npt.NDArray[np.int32]
"""(n, 2) fixed-point coordinates in a sheet."""

SHARP, BLURRED = 0.025, 0.10
"""Sigma over the face's size at which a point begins to fade, and at which it is as faint as can be."""
FAINTEST = 0.22
PREDICTED = 0.45
"""How strongly a face is drawn that was not seen in this frame."""
LEVELS = 5
"""Steps of faintness; each step of each colour is one call to OpenCV."""

_PEN, _PEN_COVERS = 2, 3.5
"""Thickness of lines on the sheet as OpenCV counts, and how many pixels such a line covers with its soft edges.

The sheet's scale follows from it: finer than the frame for small faces, coarser for very large ones, so that drawing
costs the same for all, and lines grow without steps.
"""
_LARGEST = 1000
"""No sheet is longer than this, even if a face's points lie far from its box."""
_SHADOW = (5, 5)
"""Size in pixels of the box that the lines are blurred with, twice, to make their shadow."""
_STRIP = 64
"""Rows that are blended at a time: what lies between the steps then stays in the processor's cache."""
_SHIFT = 4
"""Fractional bits of the coordinates given to OpenCV."""
_DARK: Color = (8, 10, 16)


class Drawing:
    """Draws the results of one query. Called with a result, it gives its picture with the faces on it."""

    def __init__(self, query: Query, kinds: Collection[str] = OutputSettings.draw) -> None:
        self._kinds = frozenset(kinds)
        self._curves = part_splines(query) if "curves" in self._kinds else None
        names = list(dict.fromkeys(query.parts))
        self._colors = [part_color(name) for name in names]
        self._color_of = np.array([names.index(part) for part in query.parts], np.intp)  # (points,)

    def __call__(self, result: FrameResult) -> ImageArray:
        """The frame's own image where there is nothing to draw, a copy with the faces on it otherwise."""
        if not result.faces or not self._kinds:
            return result.frame.image
        return self._draw_all(result.frame.image.copy(), result)

    def pixels(self, result: FrameResult) -> Pixels:
        """The same as films want it: planes of their colours stay so, and only what lies under a face is touched."""
        pixels = result.frame.pixels
        height, width = pixels.shape[:2]
        if isinstance(pixels, Planes) and pixels.colours == film_colours(height) and not (height % 2 or width % 2):
            return self._draw_all(pixels.copied(), result) if result.faces and self._kinds else pixels
        return self(result)

    def _draw_all(self, picture: PixelsT, result: FrameResult) -> PixelsT:
        for face in sorted(result.faces, key=lambda face: face.box[3]):  # the nearest on top
            self._draw(picture, face)
        return picture

    def _draw(self, picture: Pixels, face: Face) -> None:
        size = float(np.sqrt(max(face.box[2] * face.box[3], 1.0)))
        width = 1.05 + 0.00875 * size
        sheet = Sheet.over(picture, self._reach(face, size), margin=2.5 * width + 2, scale=_PEN_COVERS / width)
        if sheet is None:
            return
        opacity = _opacity(face, size)
        if "boxes" in self._kinds:
            self._draw_box(sheet, face)
        if self._curves is not None:
            self._draw_curves(sheet, self._curves, face, opacity)
        if "points" in self._kinds:
            self._draw_points(sheet, face, opacity)
        if "ids" in self._kinds:
            sheet.label(str(face.id), face.box[:2], max(0.11 * size, 10.0), track_color(face.id))
        sheet.lay_on(picture)

    def _reach(self, face: Face, size: float) -> FloatArray:
        """(n, 2) points that the sheet must cover."""
        reach = [face.points]
        if self._kinds & {"boxes", "ids"}:
            x, y, w, h = face.box
            label = 0.25 * size + 12 if "ids" in self._kinds else 0.0
            reach.append(np.array([[x, y - label], [x + max(w, 2 * label), y + h]]))
        return np.concatenate(reach)

    def _draw_curves(self, sheet: Sheet, curves: Splines, face: Face, opacity: FloatArray) -> None:
        lines, levels = sheet.places(curves.evaluate(face.points)), _levels(curves.interpolate(opacity))
        # A line is cut where its faintness changes; each piece reaches one sample into the next.
        cuts = np.union1d(curves.starts, np.flatnonzero(np.diff(levels)) + 1)
        ends = curves.starts[np.searchsorted(curves.starts, cuts[:-1], side="right")]
        strokes: dict[tuple[int, int], list[Places]] = defaultdict(list)
        for start, stop, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), ends.tolist(), strict=True):
            color = int(self._color_of[curves.neighbours[start, 1]])
            strokes[color, int(levels[start])].append(lines[start : min(stop + 1, end)])
        for (color, level), pieces in strokes.items():
            sheet.stroke(pieces, _PEN, self._colors[color], level / LEVELS)

    def _draw_points(self, sheet: Sheet, face: Face, opacity: FloatArray) -> None:
        finite = np.isfinite(face.points).all(1)
        # A line from a point to itself is a dot.
        dots = np.repeat(sheet.places(face.points)[:, None], 2, 1)  # (points, 2, 2)
        keys = self._color_of * (LEVELS + 1) + _levels(opacity)
        for key in np.unique(keys[finite]).tolist():
            color, level = divmod(key, LEVELS + 1)
            tint, across = self._colors[color], 2.5 * _PEN
            if self._curves is not None:
                tint, across = _toward_white(tint), 1.75 * _PEN
            sheet.stroke(list(dots[finite & (keys == key)]), across, tint, level / LEVELS)

    def _draw_box(self, sheet: Sheet, face: Face) -> None:
        x, y, w, h = face.box
        arm = 0.16 * min(w, h)
        corners = [
            sheet.places(np.array([[cx, cy + dy], [cx, cy], [cx + dx, cy]]))
            for cx, dx in ((x, arm), (x + w, -arm))
            for cy, dy in ((y, arm), (y + h, -arm))
        ]
        sheet.stroke(corners, _PEN, track_color(face.id), 1.0 if face.measured else PREDICTED)


@dataclass(eq=False, slots=True)
class Sheet:
    """A transparent picture over part of a frame: colours times opacity, and opacity."""

    corner: tuple[int, int]
    """x, y in the frame."""
    size: tuple[int, int]
    """Width and height in the frame."""
    scale: FloatArray
    """(2,) pixels of the sheet for each pixel of the frame, across and down."""
    ink: npt.NDArray[np.uint8]
    """(height, width, 4) in the sheet's own pixels."""
    colours: Colours | None
    """Of the planes that it is for; None for an RGB picture."""

    @classmethod
    def over(cls, picture: Pixels, points: FloatArray, margin: float, scale: float) -> Sheet | None:
        """A sheet over the points and a margin, as far as they lie in the frame; None where they do not."""
        finite = points[np.isfinite(points).all(1)]
        if not len(finite):
            return None
        bounds = (picture.shape[1], picture.shape[0])
        # To even pixels, for planes have one colour for two by two of them.
        left, top = np.clip(np.floor((finite.min(0) - margin) / 2) * 2, 0, bounds).astype(int).tolist()
        right, bottom = np.clip(np.ceil((finite.max(0) + margin + 1) / 2) * 2, 0, bounds).astype(int).tolist()
        if right <= left or bottom <= top:
            return None
        size = right - left, bottom - top
        scale = min(scale, _LARGEST / max(size))
        wide, high = math.ceil(size[0] * scale), math.ceil(size[1] * scale)
        ink = np.zeros((high, wide, 4), np.uint8)
        colours = picture.colours if isinstance(picture, Planes) else None
        return cls((left, top), size, np.array([wide / size[0], high / size[1]]), ink, colours)

    def places(self, points: FloatArray) -> Places:
        """(n, 2) frame pixels in the sheet's fixed-point coordinates; far ones are brought near enough for OpenCV."""
        places = (points - self.corner + 0.5) * self.scale - 0.5
        places = np.nan_to_num(np.clip(places, -16000, 16000), nan=-16000)
        return np.rint(places * 2**_SHIFT).astype(np.int32)

    def stroke(self, lines: Sequence[Places], width: float, color: Color, opacity: float) -> None:
        """Lines through places of the sheet, so many of its pixels wide, with round ends."""
        cv2.polylines(self.ink, lines, False, self._premultiplied(color, opacity), round(width), cv2.LINE_AA, _SHIFT)

    def label(self, text: str, corner: FloatArray, height: float, color: Color) -> None:
        """Text on a pill `height` frame pixels high, its lower left end at `corner`."""
        tall = height * float(self.scale[1])
        font, scale = cv2.FONT_HERSHEY_DUPLEX, tall / 36
        stroke = max(round(1.4 * scale), 1)
        (wide, high), _ = cv2.getTextSize(text, font, scale, stroke)
        left, bottom = np.maximum(self.places(corner[None])[0] / 2**_SHIFT, (0, 1.3 * tall))  # not above the frame
        pill = np.array([[left + tall / 2, bottom - 0.75 * tall], [left + tall / 2 + wide, bottom - 0.75 * tall]])
        self.stroke([np.rint(pill * 2**_SHIFT).astype(np.int32)], tall, color, 0.95)
        at = (round(left + tall / 2), round(bottom - 0.75 * tall + high / 2))
        cv2.putText(self.ink, text, at, font, scale, self._premultiplied(_DARK, 1.0), stroke, cv2.LINE_AA)

    def lay_on(self, picture: Pixels) -> None:
        """Blend the sheet into the frame, over a soft shadow of itself."""
        alpha = cv2.extractChannel(self.ink, 3)
        shadow = cv2.blur(cv2.blur(alpha, _SHADOW), _SHADOW)
        # From here on the fourth channel is how much of the picture shows through the ink and its shadow.
        bare = cv2.bitwise_not(alpha)
        through = cv2.multiply(bare, cv2.bitwise_not(shadow), scale=1 / 255)
        self.ink[:, :, 3] = through
        if isinstance(picture, Planes):
            self._lay_on_planes(picture, shade=cv2.subtract(bare, through))
        else:
            self._lay_on_image(picture)

    def _lay_on_image(self, image: ImageArray) -> None:
        ink, area = self._fitted(self.ink), self._area(image)
        for start in range(0, len(area), _STRIP):
            strip, inked = area[start : start + _STRIP], ink[start : start + _STRIP]
            through = cv2.cvtColor(cv2.extractChannel(inked, 3), cv2.COLOR_GRAY2RGB)
            cv2.multiply(strip, through, dst=strip, scale=1 / 255)
            cv2.add(strip, cv2.cvtColor(inked, cv2.COLOR_RGBA2RGB), dst=strip)

    def _lay_on_planes(self, planes: Planes, shade: ImageArray) -> None:
        """`shade` is how much black the shadow adds."""
        *tones, through = cv2.split(self.ink)
        for (plane, step, black), tone in zip(planes.each, tones, strict=True):
            area = self._area(plane, step)
            inked = cv2.addWeighted(tone, 1.0, shade, black / 255, 0.0)  # for no colour is not zero here
            cv2.multiply(area, self._fitted(through, step), dst=area, scale=1 / 255)
            cv2.add(area, self._fitted(inked, step), dst=area)

    def _premultiplied(self, color: Color, opacity: float) -> tuple[float, ...]:
        tones = color if self.colours is None else (self.colours.from_rgb @ (*color, 1.0)).tolist()
        return (*(tone * opacity for tone in tones), 255 * opacity)

    def _area(self, plane: ImageArray, step: int = 1) -> ImageArray:
        """What lies under the sheet, of a picture or of a plane with one value for `step` by `step` pixels."""
        (left, top), (wide, high) = self.corner, self.size
        return plane[top // step : (top + high) // step, left // step : (left + wide) // step]

    def _fitted(self, ink: ImageArray, step: int = 1) -> ImageArray:
        """Something of the sheet's own size at that of its area."""
        way = cv2.INTER_AREA if self.scale.max() * step > 2 else cv2.INTER_LINEAR
        fitted: ImageArray = cv2.resize(ink, (self.size[0] // step, self.size[1] // step), interpolation=way)
        return fitted


def _opacity(face: Face, size: float) -> FloatArray:
    """(points,) how strongly each point is drawn."""
    doubt = np.clip((face.sigma / size - SHARP) / (BLURRED - SHARP), 0.0, 1.0)
    opacity: FloatArray = 1.0 - (1.0 - FAINTEST) * np.nan_to_num(doubt, nan=1.0)
    return opacity if face.measured else opacity * PREDICTED


def _levels(opacity: FloatArray) -> npt.NDArray[np.intp]:
    return np.clip(np.rint(opacity * LEVELS), 1, LEVELS).astype(np.intp)


def _toward_white(color: Color) -> Color:
    red, green, blue = (round(value + (255 - value) * 0.6) for value in color)
    return red, green, blue
