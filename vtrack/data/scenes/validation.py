"""The scenes on which face detectors are evaluated, with the faces in them.

Validation photographs, unchanged and composed to frames of 640 x 480 in a fixed way: single, in grids down to faces of ten
pixels, rolled, and cut by the edge of the frame. Each photograph has one annotated face; further faces are listed in
`faces.csv`, each checked by eye. If the folder holds `turned68.zip`, its faces, which are turned in depth, are scenes too.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vtrack.data.mean_face import mean_face
from vtrack.data.scenes.album import AlbumPicture, draw, halved, moved
from vtrack.data.scenes.labels import AGREED, COLLECTIONS, DOUBTFUL, TRUTH, hull_of, read_photographs, upright
from vtrack.types import FloatArray, Frame, ImageArray

WIDTH, HEIGHT = 640, 480
WILD = ("w68", "ytf68", "fgnet68")
"""Collections used in scenes; on studio portraits all detectors are equally good."""
TURNED = "turned68"
"""The collection of faces turned in depth, which are scenes as they are."""
TURNED_SCENE = "turned"
"""Kind of their scenes. Other faces in them are on no list: they say which faces are found, not how many finds are false."""
_KNOWN_YAW = ("w68", "ytf68", TURNED)
"""Collections in the layout `300w`, whose points give the yaw of a face."""
FACES = Path(__file__).parent / "faces.csv"
"""Faces beside the annotated ones: all detections of mediapipe's full-range model (in tiles) and of the native detector with a
score of at least 0.3, checked by eye. A detector must find those marked `face`; those marked `unclear` count neither way."""
SMALLEST = 10
"""Longer side, in pixels, below which a face counts neither way."""
GRIDS = (1, 2, 4, 8, 14)
TURNS = (30, -30, 60, -60, 90, -90)


@dataclass(frozen=True, eq=False)
class EvalScene:
    """One frame and the faces in it."""

    frame: Frame
    kind: str
    """What the scene measures: `size`, `roll`, `cut`, `photo` or `turned`."""
    boxes: FloatArray
    """(faces, 4) x0, y0, x1, y1; may leave the frame."""
    rolls: FloatArray
    """(faces,) degrees."""
    ignored: np.ndarray
    """(faces,) bool: whether the face counts neither way."""
    yaws: FloatArray
    """(faces,) degrees; NaN where unknown."""


def validation_pictures(data: Path) -> list[AlbumPicture]:
    """The in-the-wild photographs of the validation split in the zips of a folder, with all their faces."""
    listed: defaultdict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with FACES.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            listed[row["collection"], row["file"]].append(row)
    pictures = []
    for place, collection in enumerate(COLLECTIONS):
        for photograph in read_photographs(data, collection, "val") if collection.name in (*WILD, TURNED) else ():
            faces = [(hull_of(photograph.points), photograph.anchors, TRUTH)]
            faces += [_listed_face(row) for row in listed[collection.name, photograph.file]]
            hulls, anchors, kinds = (np.array(column) for column in zip(*faces, strict=True))
            yaw = mean_face().pose(photograph.points).yaw if collection.name in _KNOWN_YAW else np.nan
            pictures.append(
                AlbumPicture(halved(photograph.image), hulls, anchors, kinds, place, float(np.degrees(yaw)))
            )
    return pictures


def _listed_face(row: dict[str, str]) -> tuple[FloatArray, FloatArray, int]:
    """Hull, anchors and kind of a listed face: an ellipse in its box, with typical places of eyes and mouth for its roll."""
    x, y, w, h, roll = (float(row[key]) for key in ("x", "y", "w", "h", "roll"))
    around = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    middle, half = np.array([x + w / 2, y + h / 2]), np.array([w, h]) / 2
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    features = np.array([[-0.4, -0.3], [0.4, -0.3], [0.0, 0.5]]) @ np.array([[cos, sin], [-sin, cos]])
    hull = middle + half * np.stack([np.cos(around), np.sin(around)], -1)
    return hull, middle + half.min() * features, AGREED if row["kind"] == "face" else DOUBTFUL


def eval_scenes(wild: Sequence[AlbumPicture]) -> Iterator[EvalScene]:
    """Compose all scenes; they are the same at every call."""
    turned = [picture for picture in wild if COLLECTIONS[picture.collection].name == TURNED]
    wild = [picture for picture in wild if COLLECTIONS[picture.collection].name != TURNED]
    order = np.random.default_rng(0).permutation(len(wild))
    pictures = [wild[i] for i in order]
    large = [picture for picture in pictures if COLLECTIONS[picture.collection].name == "w68"]
    number = 0
    plans = [("size", grid, (0,)) for grid in GRIDS] + [("roll", 3, TURNS), ("cut", 1, (0,))]
    for kind, columns, turns in plans:
        rows = max(columns * HEIGHT // WIDTH, 1)
        use = large if columns == 1 else pictures
        for start in range(0, len(use), columns * rows):
            chosen = use[start : start + columns * rows]
            yield _compose(
                number, kind, chosen, columns, rows, [turns[(start + i) % len(turns)] for i in range(len(chosen))]
            )
            number += 1
    for picture in [*pictures, *turned]:
        image = picture.levels[0]
        height, width = image.shape[:2]
        whole = np.concatenate([np.eye(2), np.zeros((2, 1))], 1)
        kind = TURNED_SCENE if COLLECTIONS[picture.collection].name == TURNED else "photo"
        yield _scene(number, kind, image, [(picture, whole, (0, 0, width, height))])
        number += 1


def _compose(
    number: int, kind: str, pictures: Sequence[AlbumPicture], columns: int, rows: int, turns: list[int]
) -> EvalScene:
    image, shown = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
    for place, (picture, turn) in enumerate(zip(pictures, turns, strict=True)):
        x0, x1 = ((place % columns + i) * WIDTH // columns for i in (0, 1))
        y0, y1 = ((place // columns + i) * HEIGHT // rows for i in (0, 1))
        matrix = _cut(picture, number) if kind == "cut" else _fit(picture, turn, (x0, y0, x1, y1))
        draw(picture, matrix, image[y0:y1, x0:x1], (x0, y0), cv2.BORDER_CONSTANT)
        shown.append((picture, matrix, (x0, y0, x1, y1)))
    return _scene(number, kind, image, shown)


def _scene(
    number: int,
    kind: str,
    image: ImageArray,
    shown: Sequence[tuple[AlbumPicture, FloatArray, tuple[int, int, int, int]]],
) -> EvalScene:
    """A scene with the faces of pictures that were drawn by matrices in regions x0, y0, x1, y1 of an image."""
    boxes, rolls, ignored, yaws = [], [], [], []
    for picture, matrix, (x0, y0, x1, y1) in shown:
        for place, (hull, anchors, sort) in enumerate(zip(picture.hulls, picture.anchors, picture.kinds, strict=True)):
            points, eyes = moved(matrix, hull, anchors)
            box = np.concatenate([points.min(0), points.max(0)])
            seen = np.clip(np.minimum(box[2:], (x1, y1)) - np.maximum(box[:2], (x0, y0)), 0, None).prod()
            share = seen / (box[2:] - box[:2]).prod()
            if share > 0:
                boxes.append(box)
                rolls.append(np.degrees(upright(eyes)))
                ignored.append(sort == DOUBTFUL or share < 0.5 or (box[2:] - box[:2]).max() < SMALLEST)
                yaws.append(np.nan if place else picture.yaw)
    frame = Frame(image, number, number, Fraction(1, 25))
    columns = np.array(rolls), np.array(ignored, bool), np.array(yaws)
    return EvalScene(frame, kind, np.array(boxes).reshape(-1, 4), *columns)


def _fit(picture: AlbumPicture, turn: int, cell: tuple[int, int, int, int]) -> FloatArray:
    """(2, 3) matrix that fits the whole photograph, rotated about its main face, in a cell."""
    height, width = picture.levels[0].shape[:2]
    x0, y0, x1, y1 = cell
    scale = min((x1 - x0) / width, (y1 - y0) / height)
    angle = np.radians(turn)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    hull = picture.hulls[0]
    pivot = (hull.min(0) + hull.max(0)) / 2 if turn else np.array([(width - 1) / 2, (height - 1) / 2])
    middle = np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2])
    return np.concatenate([matrix, (middle - matrix @ pivot)[:, None]], 1)


def _cut(picture: AlbumPicture, number: int) -> FloatArray:
    """(2, 3) matrix that moves the main face over an edge of the frame, so that 25 to 45 % of it is cut off."""
    low, high = picture.hulls[0].min(0), picture.hulls[0].max(0)
    size = (60, 100, 160, 240)[number // 4 % 4]
    scale = size / (high - low).max()
    lost = (0.25, 0.35, 0.45)[number // 16 % 3]
    sides = (high - low) * scale
    frame = np.array([WIDTH, HEIGHT])
    corner = (frame - sides) / 2
    axis, end = number % 2, number // 2 % 2
    corner[axis] = frame[axis] - (1 - lost) * sides[axis] if end else -lost * sides[axis]
    return np.concatenate([scale * np.eye(2), (corner - scale * low)[:, None]], 1)
