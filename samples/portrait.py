"""A moving portrait: smooth warps of a photograph, with the exact position of 68 points in each image.

The photograph is scikit-image's `astronaut` (Eileen Collins; NASA, public domain). Its points were annotated by hand. A
warp is a formula for the motion of points, and images are drawn with its inverse, so that image and points agree.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

# The 68 points (300W order) in pixels of the 512 x 512 photograph.
POINTS = np.array([
    # jaw, from the ear on the left of the image over the chin
    (180.2, 107.4), (180.6, 118.5), (181.6, 130.5), (182.6, 142.5), (185.8, 153.0), (191.9, 162.4), (200.9, 170.6),
    (212.4, 176.4), (224.5, 177.9), (236.0, 176.0), (246.6, 169.8), (255.2, 161.8), (260.9, 153.5), (264.8, 143.8),
    (266.8, 133.8), (269.5, 121.0), (270.5, 108.8),
    # brows
    (189.8, 90.2), (194.2, 88.4), (199.5, 87.8), (206.0, 89.9), (212.6, 92.3),
    (238.0, 93.2), (243.6, 92.4), (249.5, 91.9), (256.0, 92.8), (261.8, 95.8),
    # nose
    (224.0, 102.5), (223.6, 110.5), (223.1, 118.5), (222.8, 126.8),
    (211.8, 129.2), (216.8, 131.0), (223.2, 133.6), (230.0, 132.4), (236.0, 130.4),
    # eyes
    (194.3, 101.0), (198.8, 98.0), (206.0, 98.8), (213.2, 103.0), (207.5, 104.0), (200.2, 103.8),
    (236.0, 104.6), (241.8, 100.8), (250.5, 100.4), (257.5, 103.7), (250.5, 105.7), (242.5, 105.7),
    # lips, outer and inner edge
    (202.3, 139.3), (208.0, 138.9), (216.0, 138.9), (222.8, 140.0), (229.5, 139.1), (237.0, 139.3), (244.2, 140.2),
    (238.2, 147.8), (231.0, 153.3), (223.5, 154.7), (215.5, 152.3), (209.5, 148.0),
    (203.6, 140.0), (214.5, 142.0), (223.2, 143.2), (232.0, 142.3), (242.6, 140.8), (232.5, 148.2), (223.5, 149.6),
    (214.0, 147.6),
])  # fmt: skip
# Indices of the points with left and right exchanged, for the mirrored face.
MIRROR = np.array([
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60,
    67, 66, 65,
])  # fmt: skip

CENTER = np.array([224.0, 125.0])  # of the face: positioned by a pose, and the axis of rotation
MASTER_SCALE = 2  # the photograph is enlarged once, with a Lanczos filter
# Smooth warps are inverted on every third pixel of the frame and interpolated; odd, so that grid points are pixels.
GRID = 3

# Corner, two points of the upper lid, corner, two points of the lower lid, from left to right.
EYES = ((36, 37, 38, 39, 41, 40), (42, 43, 44, 45, 47, 46))
UPPER_LID, LOWER_LID = 7.0, 6.0  # height of the skin that stretches when an eye closes
UPPER_SHARE = 0.9  # share of the way to a closed eye that the upper lid moves

INNER_LIP = [60, 67, 66, 65, 64]  # lower edge of the mouth's opening
LIP_MIDDLE, LIP_HALF = 223.1, 19.6  # across the opening
JAW_HALF, CHIN, NECK = 54.0, 176.0, 212.0  # where the motion of the jaw ends sideways and downwards
JAW_DROP = 13.0  # at mouth = 1
MOUTH_TOP, MOUTH_BOTTOM = np.array([36.0, 10, 12]), np.array([116.0, 52, 52])  # colours inside

# Centre, radius and motion of smooth displacements: mouth corners inwards for a narrow mouth, brows up.
NARROW = (((203.0, 140.0), 9.0, (4.5, 2.5)), ((243.5, 140.5), 9.0, (-4.5, 2.5)))
RAISED = (((200.0, 89.0), 9.0, (0.0, -3.5)), ((250.0, 92.0), 9.0, (0.0, -3.5)))
# Centre, horizontal and vertical radius, and height of the bumps that give the head its depth: skull and nose.
DEPTH = (((225.0, 120.0), 44.0, 58.0, 42.0), ((223.0, 125.0), 9.0, 11.0, 8.0))


@dataclass(frozen=True, slots=True)
class Pose:
    """Position and expression of the face in one frame. The defaults are the photograph at twice its size."""

    x: float = 320
    """Center of the face, in pixels of the frame."""
    y: float = 240
    scale: float = 2
    roll: float = 0
    """Degrees, clockwise on screen."""
    yaw: float = 0
    """Degrees, towards the right of the image; up to about 30."""
    pitch: float = 0
    """Degrees, downwards; up to about 20."""
    blink: float = 0
    """0 open, 1 closed."""
    mouth: float = 0
    """0 as in the photograph, 1 wide open."""
    narrow: float = 0
    """0 the photograph's smile, 1 a narrow mouth."""
    brows: float = 0
    """1 raised."""


@cache
def photograph() -> np.ndarray:
    """Return (512, 512, 3) RGB, read from scikit-image's file; importing that package would need more packages."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("the portrait needs the photograph in scikit-image; pip install scikit-image")
    return cv2.imread(str(Path(package.origin).parent / "data" / "astronaut.png"))[..., ::-1]


class Portrait:
    """The photograph in any pose, optionally mirrored and tinted."""

    def __init__(self, mirrored: bool = False, tint: tuple[float, float, float] = (1, 1, 1)) -> None:
        self._side = np.array([-1 if mirrored else 1, 1])
        self._order = MIRROR if mirrored else np.arange(68)
        image = np.clip(photograph() * np.array(tint), 0, 255)
        layers = np.dstack([image, _person_mask()]).astype(np.float32)
        large = cv2.resize(layers, None, fx=MASTER_SCALE, fy=MASTER_SCALE, interpolation=cv2.INTER_LANCZOS4)
        self.master = np.clip(large, 0, 255).astype(np.uint8)
        """(h, w, 4) the enlarged photograph and the mask of its person."""

    def points(self, pose: Pose) -> np.ndarray:
        """Return the points (68, 2) in pixels of the frame."""
        points = _smooth(_drop_jaw(_move_lids(POINTS, pose), pose), pose)
        return ((points - CENTER) * self._side)[self._order] * pose.scale @ _rotation(pose).T + (pose.x, pose.y)

    def draw(self, pose: Pose, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw the portrait: (height, width, 3) RGB, and (height, width) masks 0..1 of the photograph and its person.

        Skin is sampled from where lids and jaw stretched it from; eyeballs and the inside of the mouth lie beneath it.
        """
        x, y = self._photograph_positions(pose, width, height)
        skin, mouth, depth = _jaw_back(x, y, pose)
        skin, eyes = _lids_back(x, skin, pose)
        drawn = self._sample(x, skin)
        picture = drawn[..., :3]
        if pose.blink:
            picture += eyes[..., None] * (self._sample(x, y)[..., :3] - picture)
        if pose.mouth:
            picture += mouth[..., None] * (MOUTH_TOP + depth[..., None] * (MOUTH_BOTTOM - MOUTH_TOP) - picture)
        border = np.minimum(np.minimum(x, 511 - x), np.minimum(y, 511 - y))
        return picture, np.clip(border / 12, 0, 1), drawn[..., 3] / 255 * np.clip(border / 2, 0, 1)

    def _sample(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return (h, w, 4) colours and person mask at positions of the photograph."""
        x, y = ((axis + 0.5) * MASTER_SCALE - 0.5 for axis in (x, y))
        return cv2.remap(self.master, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)

    def _photograph_positions(self, pose: Pose, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y (height, width) in the photograph of each pixel of the frame, without lids and jaw."""
        rows, columns = (np.arange(-GRID, length + 3 * GRID, GRID) for length in (height, width))
        target = np.stack(self._without_pose(columns, rows, pose), -1)
        back = target
        for _ in range(20):  # fixed-point inverse of p + shift(p), which converges for contractions
            back = target - (_smooth(back, pose) - back)
        shift = (back - target).astype(np.float32)
        fine = cv2.resize(shift, None, fx=GRID, fy=GRID, interpolation=cv2.INTER_CUBIC)
        first = GRID + GRID // 2  # OpenCV puts grid point i at fine pixel GRID i + GRID // 2
        fine = fine[first : first + height, first : first + width]
        x, y = self._without_pose(np.arange(width), np.arange(height), pose)
        return (x + fine[..., 0]).astype(np.float32), (y + fine[..., 1]).astype(np.float32)

    def _without_pose(self, columns: np.ndarray, rows: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y (rows, columns) in the photograph of pixels of the frame, before any warp."""
        x, y, turn = (columns - pose.x)[None], (rows - pose.y)[:, None], _rotation(pose) / pose.scale
        return (
            (x * turn[0, 0] + y * turn[1, 0]) * self._side[0] + CENTER[0],
            (x * turn[0, 1] + y * turn[1, 1]) * self._side[1] + CENTER[1],
        )


def _person_mask() -> np.ndarray:
    """Return (512, 512) 0..255: head and shoulders, segmented by GrabCut and softened."""
    mask = np.full((512, 512), cv2.GC_BGD, np.uint8)
    body = [np.array([(188, 140), (258, 140), (254, 178), (296, 235), (340, 300), (400, 511),
                      (30, 511), (50, 300), (125, 215), (188, 180)])]  # fmt: skip
    for grown, kind in ((60, cv2.GC_PR_BGD), (20, cv2.GC_PR_FGD), (-24, cv2.GC_FGD)):
        cv2.ellipse(mask, (227, 84), (74 + grown // 2, 70 + grown // 2), 0, 0, 360, kind, -1)
        cv2.fillPoly(mask, body, kind)
        if grown > 0:
            cv2.polylines(mask, body, True, kind, grown)
    photo = np.ascontiguousarray(photograph()[..., ::-1])
    cv2.setRNGSeed(0)
    cv2.grabCut(photo, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    person = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return cv2.GaussianBlur(person, (0, 0), 1.5)


def _rotation(pose: Pose) -> np.ndarray:
    """Return the (2, 2) rotation matrix of the roll."""
    cos, sin = np.cos(np.deg2rad(pose.roll)), np.sin(np.deg2rad(pose.roll))
    return np.array([[cos, -sin], [sin, cos]])


def _bump(points: np.ndarray, center: tuple[float, float], across: float, down: float) -> np.ndarray:
    """Return a Gaussian bump, 1 at its center."""
    u, v = (points[..., 0] - center[0]) / across, (points[..., 1] - center[1]) / down
    return np.exp(-(u * u + v * v) / 2)


def _smooth(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Move points of the photograph by mouth width, brows and turns of the head."""
    moved = points.astype(np.float64)
    for amount, pushes in ((pose.narrow, NARROW), (pose.brows, RAISED)):
        if amount:
            moved = moved + amount * sum(
                _bump(points, at, reach, reach)[..., None] * push for at, reach, push in pushes
            )
    if pose.yaw or pose.pitch:
        depth = sum(_bump(moved, at, across, down) * height for at, across, down, height in DEPTH)
        turn = np.sin(np.deg2rad([pose.yaw, pose.pitch]))
        # A turned head is also narrower: its center moves with its depth, and its sides come nearer to the axis.
        squeeze = (1 - np.cos(np.deg2rad([pose.yaw, pose.pitch]))) * _bump(moved, *DEPTH[0][:3])[..., None]
        moved = moved + depth[..., None] * turn - (moved - CENTER) * squeeze
    return moved


# Eyelids: the skin above the eye stretches down over it. Lids are cubics through their four points.


@cache
def _lid_curves(eye: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return the coefficients of the upper and lower lid, and the x of the corners."""
    left, up_1, up_2, right, low_1, low_2 = POINTS[list(EYES[eye])]
    curves = [np.polyfit(*np.array([left, a, b, right]).T, 3) for a, b in ((up_1, up_2), (low_1, low_2))]
    return curves[0], curves[1], left[0], right[0]


def _move_lids(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Move the points of the lids by a blink."""
    moved = points.copy()
    for eye, (_, *upper, _, low_1, low_2) in enumerate(EYES):
        up, low, _, _ = _lid_curves(eye)
        for index in (*upper, low_1, low_2):
            share = UPPER_SHARE if index in upper else UPPER_SHARE - 1
            moved[index, 1] += share * pose.blink * np.polyval(low - up, points[index, 0])
    return moved


def _lids_back(x: np.ndarray, y: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Return (h, w) the y from which skin on the lids was stretched, and the share of each pixel that shows the eye."""
    skin, seen = y.copy(), np.zeros_like(y)
    for eye in range(2) if pose.blink else ():
        up, low, left, right = _lid_curves(eye)
        near = np.nonzero((x > left) & (x < right) & (abs(y - POINTS[EYES[eye][0], 1]) < 20))
        x_, y_ = x[near], y[near]
        upper, lower = np.polyval(up, x_), np.polyval(low, x_)
        gap = pose.blink * np.maximum(lower - upper, 0)
        upper_now, lower_now = upper + UPPER_SHARE * gap, lower - (1 - UPPER_SHARE) * gap
        crease, bag = upper - UPPER_LID, lower + LOWER_LID
        on_upper = crease + (np.minimum(y_, upper_now) - crease) * UPPER_LID / (upper_now - crease)
        on_lower = bag - (bag - np.maximum(y_, lower_now)) * LOWER_LID / (bag - lower_now)
        is_upper = y_ < (upper_now + lower_now) / 2
        skin[near] = np.where((y_ > crease) & (y_ < bag), np.where(is_upper, on_upper, on_lower), y_)
        seen[near] = _between(y_, upper_now, lower_now)
    return skin, seen


def _between(y: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Return the share of a pixel between two edges, which are soft by half a pixel of the photograph."""
    return np.clip((y - top) * 2, 0, 1) * np.clip((bottom - y) * 2, 0, 1)


# Jaw: everything below the mouth's opening moves down, most at its center; the opening is dark.


def _lip(x: np.ndarray) -> np.ndarray:
    """Return the y of the lower edge of the mouth's opening."""
    curve = np.polyfit(*POINTS[INNER_LIP].T, 4)
    return np.polyval(curve, np.clip(x, *POINTS[[60, 64], 0]))


def _opening(x: np.ndarray, pose: Pose) -> np.ndarray:
    """Return how far the lower lip moves down, in pixels of the photograph."""
    return JAW_DROP * pose.mouth * np.maximum(1 - ((x - LIP_MIDDLE) / LIP_HALF) ** 2, 0)


def _fade(u: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 at u = 0 to 1 at u = 1."""
    u = np.clip(u, 0, 1)
    return u * u * (3 - 2 * u)


class _Drop:
    """Downward motion of points at or below the edge of the opening, for given x."""

    def __init__(self, x: np.ndarray, pose: Pose) -> None:
        self.lip, self.opening = _lip(x), _opening(x, pose)
        across = np.cos(np.pi / 2 * np.clip((x - LIP_MIDDLE) / JAW_HALF, -1, 1)) ** 2
        self._jaw = 0.85 * JAW_DROP * pose.mouth * across

    def __call__(self, y: np.ndarray) -> np.ndarray:
        below = _fade((y - self.lip) / 24)
        return (self.opening * (1 - below) + self._jaw * below) * (1 - _fade((y - CHIN) / (NECK - CHIN)))


def _drop_jaw(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Move points by the opening of the mouth."""
    x, y = points.T
    drop = _Drop(x, pose)
    return np.stack([x, y + np.where(y >= drop.lip - 1e-6, drop(y), 0)], -1)


def _jaw_back(x: np.ndarray, y: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (h, w) the y from which the jaw moved the skin, the share of each pixel inside the mouth, and its depth 0..1."""
    skin, inside, depth = y.copy(), np.zeros_like(y), np.zeros_like(y)
    if pose.mouth:
        near = np.nonzero((abs(x - LIP_MIDDLE) < JAW_HALF) & (y > 138) & (y < NECK + JAW_DROP))
        x_, y_ = x[near], y[near]
        drop = _Drop(x_, pose)
        bottom = drop.lip + drop.opening
        back = y_
        for _ in range(20):
            back = np.maximum(y_ - drop(back), drop.lip)
        upper = np.minimum(y_, drop.lip)
        skin[near] = np.where(y_ < (drop.lip + bottom) / 2, upper, back)
        inside[near] = _between(y_, drop.lip, bottom)
        depth[near] = np.clip((y_ - drop.lip) / np.maximum(drop.opening, 1e-3), 0, 1)
    return skin, inside, depth
