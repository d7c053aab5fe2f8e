"""Turns a photographed face in depth, with its points, by a warp over a surface.

The surface is the mean face, bent to the annotated points of the photograph; beside the face it recedes to the back of the
head. Its points are rotated about the vertical axis of the head and drawn from back to front, so that the nose hides the far
cheek.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator

from vtrack.data.mean_face import JAW, Pose, mean_face, mean_triangles
from vtrack.types import FloatArray, ImageArray

# Lengths in units of the distance between the outer corners of the eyes, seen from the front.
_CENTER = np.array([0.0, 0.35, 0.75])
"""A point of the axis about which the head turns."""
_RECESSION, _DEEPEST = 1.0, 0.7
"""Slope of the surface beside the face, and how far it recedes at most."""
_FADING = 1.6
"""Distance from the face at which the picture no longer moves."""
_SMOOTHING = 1e-3
"""Smoothing of the bend from the mean face to the annotated points."""
_CHEEK = 0.2
"""Distance from the middle of the face from which its surface forms the silhouette of the cheek: the nose does not."""
_CRACK = 7
"""Width in pixels of gaps in the turned surface that are cracks."""
_BLUR = 0.03
"""Standard deviation of the blur of the surface."""
_BAND = 0.06
"""Half height of the strip of the surface whose edge is the silhouette beside a point of the jaw."""


@dataclass(frozen=True, eq=False, slots=True)
class _Surface:
    """The surface of one photograph."""

    depth: FloatArray
    """(H, W) depth of each pixel in pixels."""
    motion: FloatArray
    """(H, W) share of the turn that a pixel takes part in: 1 on the face, 0 far from it."""
    vertices: FloatArray
    """(n, 3) position and depth of the vertices of the face."""
    points: FloatArray
    """(68, 3) position and depth of the annotated points."""


def turned(image: ImageArray, points: FloatArray, angle: float) -> tuple[ImageArray, FloatArray]:
    """Turn a face about the vertical axis of its head.

    Args:
        image: (H, W, 3) photograph.
        points: (68, 2) its points in the layout `300w`, in pixels.
        angle: Angle in radians, to the right of the image.

    Returns:
        The photograph of the turned face, of the same size, and its points. Points of the far side of the jaw lie on the
        silhouette, as people annotate them.
    """
    pose = mean_face().pose(points)
    surface = _surface(image.shape[:2], points, pose)
    motion = _Turn(pose, angle)
    height, width = image.shape[:2]
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    pixels = np.stack([xs, ys, surface.depth.astype(np.float32)], -1).reshape(-1, 3)
    moved = motion(pixels)
    moved[:, :2] = pixels[:, :2] + surface.motion.reshape(-1, 1) * (moved[:, :2] - pixels[:, :2])
    source = _splatted(moved, pixels[:, :2], surface.motion < 1)
    picture = cv2.remap(image, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picture, _on_silhouette(motion(surface.points), motion(surface.vertices), pose, pose.yaw + angle)


@dataclass(frozen=True, eq=False, slots=True)
class _Turn:
    """A rotation of a head about its own vertical axis."""

    pose: Pose
    angle: float

    def __call__(self, points: FloatArray) -> FloatArray:
        """(n, 3) positions and depths (n, 3) after the turn."""
        center = self.pose.place(_CENTER[None])[0]
        matrix = cv2.Rodrigues(self.pose.rotation[:, 1] * -self.angle)[0]
        return np.asarray((points - center) @ matrix.T + center)


def _surface(size: tuple[int, int], points: FloatArray, pose: Pose) -> _Surface:
    """The surface of a photograph of a size (height, width)."""
    face = mean_face()
    offsets = points - pose.place(face.points)[:, :2]
    bend = RBFInterpolator(face.points[:, :2], offsets, smoothing=_SMOOTHING)
    vertices = pose.place(face.vertices)
    vertices[:, :2] += bend(face.vertices[:, :2])
    corners = mean_triangles()
    visible = np.unique(corners[_area(vertices[corners]) * _area(face.vertices[corners]) > 0])
    xs, ys = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    depth = LinearNDInterpolator(vertices[visible, :2], vertices[visible, 2])(xs, ys)
    inside = np.isfinite(depth)
    apart, nearest = _nearest(inside)
    unit = pose.scale
    beside = depth.ravel()[nearest] + np.minimum(_RECESSION * apart, _DEEPEST * unit)
    depth = cv2.GaussianBlur(np.where(inside, depth, beside), (0, 0), _BLUR * unit)
    share = np.clip(1 - apart / (_FADING * unit), 0, 1)
    # The points lie on the surface, so that they stay where the picture shows them; a jaw's lie on its edge.
    places = np.clip(np.rint(points), 0, np.array(size[::-1]) - 1).astype(int)
    heights = np.where(np.arange(len(points)) < JAW, pose.place(face.points)[:, 2], depth[places[:, 1], places[:, 0]])
    return _Surface(depth, share * share * (3 - 2 * share), vertices, np.column_stack([points, heights]))


def _area(corners: FloatArray) -> FloatArray:
    """(n,) twice the signed area of triangles (n, 3, 2 or more) in the image; its sign says from which side they are seen."""
    (ax, ay), (bx, by) = (np.moveaxis(corners[:, i, :2] - corners[:, 0, :2], -1, 0) for i in (1, 2))
    return np.asarray(ax * by - ay * bx)


def _nearest(inside: np.ndarray) -> tuple[FloatArray, np.ndarray]:
    """(H, W) distance of each pixel from a region, and index of the nearest pixel of the region."""
    apart, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    members = np.flatnonzero(inside)
    index = np.zeros(labels.max() + 1, np.int64)
    index[labels.ravel()[members]] = members
    return apart, index[labels]


def _splatted(moved: FloatArray, source: FloatArray, beside: np.ndarray) -> FloatArray:
    """(H, W, 2) position in the photograph that each pixel of the turned picture shows.

    Args:
        moved: (pixels, 3) positions and depths after the turn.
        source: (pixels, 2) positions before it.
        beside: (H, W) bool: which pixels of the photograph lie beside the face; they fill what becomes visible behind it.
    """
    height, width = beside.shape
    order = np.argsort(-moved[:, 2], kind="stable")
    target = moved[order, :2]
    # Each point covers four pixels, so that a surface that is stretched up to twofold stays closed.
    cells = np.floor(target).astype(np.int64)[:, None] + ((0, 0), (1, 0), (0, 1), (1, 1))  # (pixels, 4, 2)
    good = ((cells >= 0) & (cells < (width, height))).all(-1)
    values = source[order][:, None] + (cells - target[:, None])
    shown = np.full((height * width, 2), np.nan, np.float32)
    # NumPy keeps the last of several values that are written to one place: the one nearest to the viewer.
    shown[(cells[..., 1] * width + cells[..., 0])[good]] = values[good]
    known = np.isfinite(shown[:, 0]).reshape(beside.shape)
    shown = shown[_nearest(known)[1]]
    x, y = np.clip(np.rint(shown).astype(int), 0, (width - 1, height - 1)).transpose(2, 0, 1)
    # Cracks of a stretched surface show the surface; what is wider was hidden, and is filled from beside the face.
    closed = cv2.morphologyEx(known.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_CRACK, _CRACK), np.uint8)) > 0
    background = _nearest(known & beside[y, x])[1]
    return np.where(closed[..., None], shown, shown.reshape(-1, 2)[background])


def _on_silhouette(points: FloatArray, vertices: FloatArray, pose: Pose, yaw: float) -> FloatArray:
    """(68, 2) points whose far side of the jaw is moved out to the silhouette of the face.

    Args:
        points: (68, 3) positions and depths of the points.
        vertices: (468, 3) those of the surface, without which the silhouette would be that of the jaw itself.
        pose: The pose of the head before the turn, which says where down is.
        yaw: The yaw after the turn.
    """
    down = pose.rotation[:2, 1] / np.linalg.norm(pose.rotation[:2, 1])
    side = 1.0 if yaw >= 0 else -1.0
    frame = np.stack([side * np.array([down[1], -down[0]]), down])  # rows: towards the far side, down
    cheek = side * mean_face().vertices[:, 0] > _CHEEK
    local, surface = points[:, :2] @ frame.T, vertices[cheek, :2] @ frame.T
    far = np.flatnonzero(side * mean_face().points[:, 0] > 0)
    far = far[far < JAW]
    beside = np.abs(surface[:, 1] - local[far, 1][:, None]) < _BAND * pose.scale
    edge = np.where(beside, surface[:, 0], -np.inf).max(1)
    local[far, 0] = np.maximum(local[far, 0], edge)
    return local @ frame
