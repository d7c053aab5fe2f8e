"""Where the faces are in the training photographs: the annotated one, and those that two teachers agree on.

Every photograph has one face with points, but others may stand beside it; left out, they would teach the detector to miss
faces. mediapipe's two BlazeFace models look at each photograph whole and in windows. Where both see a face, it is
labelled; where only one does, the place is neither face nor background and the loss leaves it alone.

Runs in an environment with mediapipe 0.10 (NumPy below 2), apart from the training:
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
from vtrack.errors import DataError, UsageError
from vtrack.imaging.boxes import iou, xywh_to_corners
from vtrack.types import FloatArray, ImageArray

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photographs:
    """One zip of annotated photographs, and which of its points make the face box."""

    name: str
    grids: tuple[int, ...]
    """The teachers look through g x g half-overlapping windows, for each g: more where scenes are wide."""
    core: tuple[tuple[int, int], ...]
    """Ranges of points (from 1, both ends in) on brows, eyes, nose, lips and jaw; not hair, ears, neck."""
    eyes: tuple[tuple[int, ...], tuple[int, ...]]
    """Points whose mean is the eye on the image's left, then on its right."""
    mouth: tuple[int, int]
    """The mouth's corners."""


_EYES_68 = (tuple(range(37, 43)), tuple(range(43, 49)))

# helen29 is left out: nearly all of its photographs are in w68 with the jaw that it lacks.
COLLECTIONS = (
    Photographs("w68", (1, 2, 4), ((1, 68),), _EYES_68, (49, 55)),
    Photographs("ytf68", (1, 2), ((1, 68),), _EYES_68, (49, 55)),
    Photographs("fgnet68", (1, 2), ((1, 68),), ((32,), (37,)), (49, 55)),
    Photographs("imm73", (1,), ((1, 73),), ((33,), (34,)), (47, 53)),
    Photographs("frl189", (1,), ((1, 115), (126, 134)), ((1,), (2,)), (88, 94)),
    Photographs("scut86", (1,), ((5, 18), (23, 86)), ((59,), (60,)), (80, 74)),
)


@dataclass(frozen=True)
class Photograph:
    """One annotated photograph."""

    image: ImageArray
    split: str
    points: FloatArray
    """(points, 2) on the face's core."""
    anchors: FloatArray
    """(3, 2) left eye, right eye, middle of the mouth."""
    file: str


def read_photographs(data: Path, collection: Photographs, split: str | None = None) -> Iterator[Photograph]:
    """Every photograph of one zip, or of one split of it, in the order of its table."""
    path = data / f"{collection.name}.zip"
    if not path.is_file():
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


class Teachers:
    """mediapipe's full-range and short-range BlazeFace."""

    def __init__(self) -> None:
        detection = solution("face_detection").FaceDetection
        self._models = [detection(model_selection=which, min_detection_confidence=0.25) for which in (1, 0)]

    def look(self, image: ImageArray, grids: tuple[int, ...]) -> FloatArray:
        """(found, 22): model, score, window x y w h, box x y w h, six key points."""
        rows = []
        height, width = image.shape[:2]
        for x, y, w, h in windows(height, width, grids):
            window = np.ascontiguousarray(image[y : y + h, x : x + w])
            for which, model in enumerate(self._models):
                for found in model.process(window).detections or []:
                    place = found.location_data
                    box = place.relative_bounding_box
                    keys = [c for key in place.relative_keypoints for c in (x + key.x * w, y + key.y * h)]
                    frame_box = (x + box.xmin * w, y + box.ymin * h, box.width * w, box.height * h)
                    rows.append([which, found.score[0], x, y, w, h, *frame_box, *keys])
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

    Eye line and eyes-to-mouth line are averaged as vectors: turned sideways the eye line shrinks and loses its say.
    """
    left, right, mouth = np.moveaxis(anchors, -2, 0)
    across, down = right - left, mouth - (left + right) / 2
    return np.arctan2(across[..., 1] - down[..., 0], across[..., 0] + down[..., 1])


@dataclass(frozen=True)
class Conversion:
    """A linear map, learned on annotated faces, from a teacher's key points to a face's 68 points and anchors.

    It works in the face's own frame (origin between eyes and mouth, turned upright, box width as unit), so it holds for
    rolled faces too.
    """

    weights: FloatArray
    """(13, 142)"""

    @staticmethod
    def _frame(found: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Origin (n, 2), axes times unit (n, 2, 2) and features (n, 13) of found rows."""
        keys = found[:, 10:].reshape(-1, 6, 2)
        anchors = keys[:, [0, 1, 3]]
        angle = upright(anchors)
        cos, sin = np.cos(angle), np.sin(angle)
        axes = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2) * found[:, 8, None, None]
        origin = anchors.mean(1)
        local = (keys - origin[:, None]) @ np.linalg.inv(axes)
        return origin, axes, np.concatenate([local.reshape(-1, 12), np.ones((len(found), 1))], 1)

    @classmethod
    def learn(cls, found: FloatArray, points: FloatArray) -> Conversion:
        """From matching rows `found` (n, 22) and `points` (n, 71, 2)."""
        origin, axes, features = cls._frame(found)
        local = ((points - origin[:, None]) @ np.linalg.inv(axes)).reshape(len(found), -1)
        ridge = features.T @ features + 0.1 * np.eye(features.shape[1])
        return cls(np.linalg.solve(ridge, features.T @ local))

    def __call__(self, found: FloatArray) -> FloatArray:
        """(n, 71, 2) points, the anchors last."""
        origin, axes, features = self._frame(found)
        return (features @ self.weights).reshape(len(found), -1, 2) @ axes + origin[:, None]


TRUTH, AGREED, DOUBTFUL = 0, 1, 2
HULL = 32


def hull_of(points: FloatArray) -> FloatArray:
    """(HULL, 2) convex hull, its last point repeated: all that a box needs under any rotation."""
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    if len(hull) > HULL:
        hull = hull[np.linspace(0, len(hull) - 1, HULL).astype(int)]
    return np.concatenate([hull, np.repeat(hull[-1:], HULL - len(hull), 0)])


def agree(found: FloatArray, points: FloatArray, size: tuple[int, int]) -> list[tuple[int, FloatArray]]:
    """Faces that teachers found in one photograph of `size` (w, h): (AGREED or DOUBTFUL, (71, 2) points)."""
    boxes, score = box_of(points[:, :68]), found[:, 1]
    x, y, w, h = found[:, 2:6].T
    inside = np.stack(
        [boxes[:, 0] - x, boxes[:, 1] - y, x + w - boxes[:, 0] - boxes[:, 2], y + h - boxes[:, 1] - boxes[:, 3]]
    )
    at_frame = np.stack([x <= 0, y <= 0, x + w >= size[0] - 1, y + h >= size[1] - 1])
    # A face cut by its window but not by the photograph is misjudged.
    whole = ((inside > -0.1 * boxes[:, 2]) | at_frame).all(0)
    order = list(np.argsort(-(score + whole)))
    faces = []
    while order:
        same = [i for i in order if _overlaps(boxes[i, None], boxes[order[0]])[0] > 0.4]
        order = [i for i in order if i not in same]
        best = [[score[i] for i in same if found[i, 0] == model] for model in (0, 1)]
        far, near = (max(b, default=0.0) for b in best)
        sure = (
            (far > 0.5 and near > 0.5)
            or (max(far, near) > 0.75 and min(far, near) > 0.3)
            or (far > 0.8 and len(best[0]) > 2)
        )
        good = [i for i in same if whole[i]] or same
        middle = np.average(points[good], 0, score[good])
        sane = box_of(middle[:68])[2:].min() > 4
        faces.append((AGREED if sure and sane and whole[same].any() else DOUBTFUL, middle))
    return faces


def label(data: Path, out: Path) -> None:
    """Write `labels.npz`: for each face its photograph (collection, number), kind, hull and anchors."""
    teachers = Teachers()
    photographs: dict[str, list[tuple[tuple[int, int], str, FloatArray, FloatArray]]] = {}
    seen: dict[str, list[FloatArray]] = {}
    for collection in COLLECTIONS:
        entries, looks = photographs.setdefault(collection.name, []), seen.setdefault(collection.name, [])
        cache = out / f"seen_{collection.name}.npz"
        stored = np.load(cache) if cache.is_file() else None
        for number, photograph in enumerate(read_photographs(data, collection)):
            height, width = photograph.image.shape[:2]
            entries.append(((width, height), photograph.split, photograph.points, photograph.anchors))
            looks.append(stored[str(number)] if stored else teachers.look(photograph.image, collection.grids))
        if stored is None:
            np.savez(cache, allow_pickle=False, **{str(number): look for number, look in enumerate(looks)})
        log.info("%s: %d photographs looked at", collection.name, len(entries))

    conversions = _learn(photographs["w68"], seen["w68"])
    rows, hulls, anchors = [], [], []
    for place, collection in enumerate(COLLECTIONS):
        for number, (size, split, points, main) in enumerate(photographs[collection.name]):
            rows.append((place, number, split == "val", TRUTH))
            hulls.append(hull_of(points))
            anchors.append(main)
            found = seen[collection.name][number]
            if not len(found):
                continue
            converted = np.stack([conversions[int(row[0])](row[None])[0] for row in found])
            near = _overlaps(box_of(converted[:, :68]), box_of(points)) > 0.2
            centre = box_of(points)[:2] + box_of(points)[2:] / 2
            near |= (np.abs(converted[:, :68].mean(1) - centre) < 0.4 * box_of(points)[2:]).all(1)
            for kind, face in agree(found[~near], converted[~near], size):
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
    log.info("%d annotated faces, %d that both teachers see, %d doubtful", *kinds)


def _learn(
    entries: list[tuple[tuple[int, int], str, FloatArray, FloatArray]], looks: list[FloatArray]
) -> list[Conversion]:
    """One conversion for each teacher, from its sightings of annotated faces in the train split."""
    pairs: list[list[tuple[FloatArray, FloatArray]]] = [[], []]
    for (_, split, points, anchors), found in zip(entries, looks, strict=True):
        if split == "train" and len(found):
            shared = _overlaps(found[:, 6:10], box_of(points))
            for row in found[(shared > 0.4) & (found[:, 1] > 0.6)]:
                pairs[int(row[0])].append((row, np.concatenate([points, anchors])))
    learned = []
    for which in pairs:
        found, points = np.stack([row for row, _ in which]), np.stack([face for _, face in which])
        learned.append(Conversion.learn(found, points))
        error = learned[-1](found) - points
        log.info(
            "conversion from %d faces, error %.3f of the box", len(found), np.abs(error).mean() / found[:, 8].mean()
        )
    return learned


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) != 3:
        raise UsageError("usage: python -m vtrack.data.scenes.labels DATA OUT")
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    label(Path(sys.argv[1]), Path(sys.argv[2]))
