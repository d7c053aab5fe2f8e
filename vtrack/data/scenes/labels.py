"""Labels all faces in the training photographs: the annotated one, and others by two detectors.

Each photograph has one annotated face, but may show others; unlabelled, they would train the detector to miss faces.
mediapipe's two BlazeFace models search each photograph as a whole and in windows. A face that both detect is labelled; a face
that only one detects is doubtful, and the loss ignores it.

Runs in an environment with mediapipe 0.10 (NumPy below 2), separate from the training:
`python -m vtrack.data.scenes.labels data runs/detect`
"""

from __future__ import annotations

import csv
import io
import logging
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vtrack.data.solutions import solution
from vtrack.errors import DataError, UsageError, errors_in_one_line
from vtrack.imaging.boxes import iou, xywh_to_corners
from vtrack.types import FloatArray, ImageArray

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photographs:
    """One zip of annotated photographs, and the points that make the face box."""

    name: str
    grids: tuple[int, ...]
    """BlazeFace searches g x g half-overlapping windows, for each g; more for wide scenes."""
    core: tuple[tuple[int, int], ...]
    """Ranges of points (counted from 1, inclusive) on brows, eyes, nose, lips and jaw; without hair, ears and neck."""
    eyes: tuple[tuple[int, ...], tuple[int, ...]]
    """Points whose mean is the left eye, and those whose mean is the right eye, as seen in the image."""
    mouth: tuple[int, int]
    """The corners of the mouth."""
    optional: bool = False
    """Whether it may be absent."""


_EYES_68 = (tuple(range(37, 43)), tuple(range(43, 49)))

# helen29 is left out: nearly all of its photographs are in w68 with the jaw that it lacks.
COLLECTIONS = (
    Photographs("w68", (1, 2, 4), ((1, 68),), _EYES_68, (49, 55)),
    Photographs("ytf68", (1, 2), ((1, 68),), _EYES_68, (49, 55)),
    Photographs("fgnet68", (1, 2), ((1, 68),), ((32,), (37,)), (49, 55)),
    Photographs("imm73", (1,), ((1, 73),), ((33,), (34,)), (47, 53)),
    Photographs("frl189", (1,), ((1, 115), (126, 134)), ((1,), (2,)), (88, 94)),
    Photographs("scut86", (1,), ((5, 18), (23, 86)), ((59,), (60,)), (80, 74)),
    # Made of w68 by vtrack.training.landmarks.turned_faces.
    Photographs("turned68", (1, 2), ((1, 68),), _EYES_68, (49, 55), optional=True),
)


@dataclass(frozen=True)
class Photograph:
    """One annotated photograph."""

    image: ImageArray
    split: str
    points: FloatArray
    """(points, 2) of the collection's `core`."""
    anchors: FloatArray
    """(3, 2) left eye, right eye, middle of the mouth."""
    file: str


def read_photographs(data: Path, collection: Photographs, split: str | None = None) -> Iterator[Photograph]:
    """Read the photographs of one zip, or of one split of it, in the order of its table."""
    path = data / f"{collection.name}.zip"
    if not path.is_file():
        if collection.optional:
            return
        raise DataError(f"{path} is not there; give the folder that holds the photograph zips")
    chosen = np.concatenate([np.arange(first - 1, last) for first, last in collection.core])
    with zipfile.ZipFile(path) as archive:
        for row in list(csv.reader(io.StringIO(archive.read("labels.csv").decode())))[1:]:
            if split not in (None, row[1]):
                continue
            pixels = cv2.imdecode(np.frombuffer(archive.read(row[0]), np.uint8), cv2.IMREAD_COLOR)
            points = np.array([float(value) if value else np.nan for value in row[3:]]).reshape(-1, 2)
            eyes = [np.nanmean(points[np.array(eye) - 1], 0) for eye in collection.eyes]
            mouth = points[np.array(collection.mouth) - 1].mean(0)
            core = points[chosen]
            core = core[np.isfinite(core).all(1)]
            image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            yield Photograph(image, row[1], core, np.stack([*eyes, mouth]), row[0])


def windows(height: int, width: int, grids: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """x, y, w, h of g x g half-overlapping windows, for each g."""
    for grid in grids:
        w, h = 2 * width / (grid + 1), 2 * height / (grid + 1)
        for place in range(grid * grid):
            yield int(place % grid * w / 2), int(place // grid * h / 2), int(w), int(h)


class BlazeFaceModels:
    """mediapipe's full-range and short-range BlazeFace."""

    def __init__(self) -> None:
        detection = solution("face_detection").FaceDetection
        self._models = [detection(model_selection=which, min_detection_confidence=0.25) for which in (1, 0)]

    def detect(self, image: ImageArray, grids: tuple[int, ...]) -> FloatArray:
        """(detections, 22) rows: model, score, window x y w h, box x y w h, six key points."""
        rows = []
        height, width = image.shape[:2]
        for x, y, w, h in windows(height, width, grids):
            window = np.ascontiguousarray(image[y : y + h, x : x + w])
            for number, model in enumerate(self._models):
                for detection in model.process(window).detections or []:
                    location = detection.location_data
                    box = location.relative_bounding_box
                    keys = [c for key in location.relative_keypoints for c in (x + key.x * w, y + key.y * h)]
                    frame_box = (x + box.xmin * w, y + box.ymin * h, box.width * w, box.height * h)
                    rows.append([number, detection.score[0], x, y, w, h, *frame_box, *keys])
        return np.array(rows, np.float64).reshape(-1, 22)


def box_of(points: FloatArray) -> FloatArray:
    """(..., 4) tight x, y, w, h of (..., points, 2)."""
    low, high = points.min(-2), points.max(-2)
    return np.concatenate([low, high - low], -1)


def _overlaps(boxes: FloatArray, box: FloatArray) -> FloatArray:
    """(n,) IoU of boxes (n, 4) x, y, w, h with another (4,)."""
    return iou(xywh_to_corners(boxes), xywh_to_corners(box)[None])[:, 0]


def upright(anchors: FloatArray) -> FloatArray:
    """(...) roll in radians, clockwise on screen, of (..., 3, 2) eyes and mouth.

    The line between the eyes and the line from the eyes to the mouth are averaged as vectors: in a profile the line between
    the eyes is short and so has little weight.
    """
    left, right, mouth = np.moveaxis(anchors, -2, 0)
    across, down = right - left, mouth - (left + right) / 2
    return np.arctan2(across[..., 1] - down[..., 0], across[..., 0] + down[..., 1])


@dataclass(frozen=True)
class Conversion:
    """A linear map from the key points of BlazeFace to the 68 points and the anchors of a face, learned on annotated faces.

    It works in the coordinate system of the face (origin between eyes and mouth, upright, unit the width of the box), and so
    applies to rolled faces too.
    """

    weights: FloatArray
    """(13, 142)"""

    @staticmethod
    def _frame(rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Origin (n, 2), axes times unit (n, 2, 2) and features (n, 13) of detections (n, 22)."""
        keys = rows[:, 10:].reshape(-1, 6, 2)
        anchors = keys[:, [0, 1, 3]]
        angle = upright(anchors)
        cos, sin = np.cos(angle), np.sin(angle)
        axes = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2) * rows[:, 8, None, None]
        origin = anchors.mean(1)
        local = (keys - origin[:, None]) @ np.linalg.inv(axes)
        return origin, axes, np.concatenate([local.reshape(-1, 12), np.ones((len(rows), 1))], 1)

    @classmethod
    def learn(cls, rows: FloatArray, points: FloatArray) -> Conversion:
        """Fit by ridge regression on detections (n, 22) and the points (n, 71, 2) of the same faces."""
        origin, axes, features = cls._frame(rows)
        local = ((points - origin[:, None]) @ np.linalg.inv(axes)).reshape(len(rows), -1)
        ridge = features.T @ features + 0.1 * np.eye(features.shape[1])
        return cls(np.linalg.solve(ridge, features.T @ local))

    def __call__(self, rows: FloatArray) -> FloatArray:
        """(n, 71, 2) points of detections (n, 22), the anchors last."""
        origin, axes, features = self._frame(rows)
        return (features @ self.weights).reshape(len(rows), -1, 2) @ axes + origin[:, None]


TRUTH, AGREED, DOUBTFUL = 0, 1, 2
"""Kinds of faces: annotated, detected by both models, detected by one."""
HULL = 32
"""Number of points of a convex hull."""


def hull_of(points: FloatArray) -> FloatArray:
    """(HULL, 2) convex hull of points, padded with its last point: the face box under any rotation follows from it."""
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    if len(hull) > HULL:
        hull = hull[np.linspace(0, len(hull) - 1, HULL).astype(int)]
    return np.concatenate([hull, np.repeat(hull[-1:], HULL - len(hull), 0)])


def merged_faces(rows: FloatArray, points: FloatArray, size: tuple[int, int]) -> list[tuple[int, FloatArray]]:
    """Merge the detections of one photograph to faces.

    Args:
        rows: (n, 22) detections.
        points: (n, 71, 2) their converted points.
        size: Width and height of the photograph.

    Returns:
        AGREED or DOUBTFUL, and points (71, 2), of each face.
    """
    boxes, score = box_of(points[:, :68]), rows[:, 1]
    x, y, w, h = rows[:, 2:6].T
    inside = np.stack(
        [boxes[:, 0] - x, boxes[:, 1] - y, x + w - boxes[:, 0] - boxes[:, 2], y + h - boxes[:, 1] - boxes[:, 3]]
    )
    at_frame = np.stack([x <= 0, y <= 0, x + w >= size[0] - 1, y + h >= size[1] - 1])
    # The box of a face that is cut off by its window, but not by the photograph, is wrong.
    whole = ((inside > -0.1 * boxes[:, 2]) | at_frame).all(0)
    order = list(np.argsort(-(score + whole)))
    faces = []
    while order:
        same = [i for i in order if _overlaps(boxes[i, None], boxes[order[0]])[0] > 0.4]
        order = [i for i in order if i not in same]
        scores = [[score[i] for i in same if rows[i, 0] == model] for model in (0, 1)]
        full_range, short_range = (max(of_model, default=0.0) for of_model in scores)
        agreed = (
            (full_range > 0.5 and short_range > 0.5)
            or (max(full_range, short_range) > 0.75 and min(full_range, short_range) > 0.3)
            or (full_range > 0.8 and len(scores[0]) > 2)
        )
        usable = [i for i in same if whole[i]] or same
        mean = np.average(points[usable], 0, score[usable])
        large_enough = box_of(mean[:68])[2:].min() > 4
        faces.append((AGREED if agreed and large_enough and whole[same].any() else DOUBTFUL, mean))
    return faces


def label(data: Path, out: Path) -> None:
    """Label the faces of all photographs.

    Args:
        data: Folder of the photograph zips.
        out: Folder of the result `labels.npz`: photograph (collection, number), split, kind, hull and anchors of each face. The
            detections of each collection are kept there too, so that an interrupted run resumes.
    """
    models = BlazeFaceModels()
    photographs: dict[str, list[tuple[tuple[int, int], str, FloatArray, FloatArray]]] = {}
    detections: dict[str, list[FloatArray]] = {}
    for collection in COLLECTIONS:
        entries, rows_of = photographs.setdefault(collection.name, []), detections.setdefault(collection.name, [])
        cache = out / f"seen_{collection.name}.npz"
        stored = np.load(cache) if cache.is_file() else None
        for number, photograph in enumerate(read_photographs(data, collection)):
            height, width = photograph.image.shape[:2]
            entries.append(((width, height), photograph.split, photograph.points, photograph.anchors))
            rows_of.append(stored[str(number)] if stored else models.detect(photograph.image, collection.grids))
        if stored is None and rows_of:  # an optional collection may come later
            np.savez(cache, allow_pickle=False, **{str(number): rows for number, rows in enumerate(rows_of)})
        log.info("%s: %d photographs searched", collection.name, len(entries))

    conversions = _learn(photographs["w68"], detections["w68"])
    rows, hulls, anchors = [], [], []
    for place, collection in enumerate(COLLECTIONS):
        for number, (size, split, points, main) in enumerate(photographs[collection.name]):
            rows.append((place, number, split == "val", TRUTH))
            hulls.append(hull_of(points))
            anchors.append(main)
            found = detections[collection.name][number]
            if not len(found):
                continue
            converted = np.stack([conversions[int(row[0])](row[None])[0] for row in found])
            near = _overlaps(box_of(converted[:, :68]), box_of(points)) > 0.2
            centre = box_of(points)[:2] + box_of(points)[2:] / 2
            near |= (np.abs(converted[:, :68].mean(1) - centre) < 0.4 * box_of(points)[2:]).all(1)
            for kind, face in merged_faces(found[~near], converted[~near], size):
                rows.append((place, number, split == "val", kind))
                hulls.append(hull_of(face[:68]))
                anchors.append(face[68:])
    np.savez(
        out / "labels.npz",
        rows=np.array(rows),
        hulls=np.array(hulls, np.float32),
        anchors=np.array(anchors, np.float32),
    )
    kinds = np.bincount(np.array(rows)[:, 3], minlength=3)
    log.info("%d annotated faces, %d detected by both models, %d doubtful", *kinds)


def _learn(
    entries: list[tuple[tuple[int, int], str, FloatArray, FloatArray]], detections: list[FloatArray]
) -> list[Conversion]:
    """Learn the conversion of each model from its detections of annotated faces in the training split."""
    pairs: list[list[tuple[FloatArray, FloatArray]]] = [[], []]
    for (_, split, points, anchors), rows in zip(entries, detections, strict=True):
        if split == "train" and len(rows):
            shared = _overlaps(rows[:, 6:10], box_of(points))
            for row in rows[(shared > 0.4) & (rows[:, 1] > 0.6)]:
                pairs[int(row[0])].append((row, np.concatenate([points, anchors])))
    conversions = []
    for of_model in pairs:
        rows, points = np.stack([row for row, _ in of_model]), np.stack([face for _, face in of_model])
        conversions.append(Conversion.learn(rows, points))
        error = conversions[-1](rows) - points
        log.info("conversion from %d faces, error %.3f of the box", len(rows), np.abs(error).mean() / rows[:, 8].mean())
    return conversions


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with errors_in_one_line():
        if len(sys.argv) != 3:
            raise UsageError("usage: python -m vtrack.data.scenes.labels DATA OUT")
        Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
        label(Path(sys.argv[1]), Path(sys.argv[2]))
