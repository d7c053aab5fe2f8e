"""Colours of parts and tracks: even in lightness, far apart in hue, none like skin.

Colours are chosen in OKLCH (lightness, chroma, hue), where equal steps look equal.
"""

from __future__ import annotations

import math
import zlib
from functools import cache

from vtrack.parts import plain

Color = tuple[int, int, int]

# Lightness, chroma and hue of a part; the left and right of a pair lie a little to either side of the hue.
_PARTS: dict[str, tuple[float, float, float]] = {
    "jaw": (0.78, 0.13, 262),
    "brow": (0.87, 0.16, 92),
    "eye": (0.86, 0.14, 205),
    "iris": (0.80, 0.12, 235),
    "pupil": (0.97, 0.04, 215),
    "eye_center": (0.97, 0.04, 215),
    "brow_center": (0.93, 0.10, 95),
    "eyelid_crease": (0.80, 0.10, 180),
    "under_eye": (0.80, 0.10, 180),
    "nose_bridge": (0.88, 0.20, 135),
    "nose_base": (0.84, 0.19, 150),
    "nose_side": (0.82, 0.16, 160),
    "nose_ridge": (0.88, 0.17, 125),
    "nostril": (0.80, 0.16, 165),
    "philtrum": (0.80, 0.14, 330),
    "outer_lip": (0.72, 0.21, 8),
    "inner_lip": (0.80, 0.15, 350),
    "mouth_center": (0.90, 0.08, 0),
    "smile_line": (0.80, 0.13, 310),
    "cheek": (0.85, 0.12, 300),
    "chin_crease": (0.80, 0.13, 320),
    "chin": (0.80, 0.13, 280),
    "hairline": (0.76, 0.16, 305),
    "hair": (0.70, 0.17, 290),
    "ear": (0.80, 0.13, 240),
    "ear_base": (0.76, 0.12, 250),
    "neck": (0.76, 0.12, 275),
    # Parts that only mediapipe's mesh has.
    "low_brow": (0.82, 0.15, 80),
    "eyelid": (0.80, 0.10, 180),
    "nose_line": (0.88, 0.20, 135),
    "forehead": (0.76, 0.16, 305),
}
_SIDE_HUE = 9
"""Difference in hue, in degrees, of a left or right part from its base hue."""
_GOLDEN_ANGLE = 137.508
"""Difference in hue of successive tracks, in degrees: no two of many are close."""


AXIS_COLORS: tuple[Color, Color, Color] = ((255, 74, 64), (60, 210, 90), (64, 130, 255))
"""Colours of the axes x, y and z of a head, as programs for three dimensions have them: red, green, blue."""
WIREFRAME_COLOR: Color = (150, 190, 205)
"""Colour of the lines between neighbouring points."""
COMPARED_COLORS: tuple[Color, Color] = ((255, 140, 0), (0, 200, 255))
"""Colours of the points of two tables, orange and blue; told apart also by colour-blind people."""


@cache
def part_color(part: str) -> Color:
    """Return the colour of a part; unknown parts get a fixed colour from a hash of their name."""
    base, turn = plain(part), 0
    for side, sign in (("left_", -1), ("right_", 1)):
        if part.startswith(side):
            base, turn = base.removeprefix(side), sign * _SIDE_HUE
    lightness, chroma, hue = _PARTS.get(base, (0.82, 0.14, zlib.crc32(base.encode()) % 360))
    return from_oklch(lightness, chroma, hue + turn)


@cache
def track_color(track: int) -> Color:
    """Return the colour of a track's box and id; colours of successive tracks are far apart."""
    return from_oklch(0.86, 0.13, 200 + track * _GOLDEN_ANGLE)


def from_oklch(lightness: float, chroma: float, hue: float) -> Color:
    """Convert an OKLCH colour to 8-bit sRGB, clipped where sRGB cannot show its chroma."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    red, green, blue = (_gamma_encoded(value) for value in linear)
    return red, green, blue


def _gamma_encoded(linear: float) -> int:
    """Return the 8-bit sRGB value of a linear one."""
    value = min(max(linear, 0.0), 1.0)
    value = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
    return round(255 * value)
