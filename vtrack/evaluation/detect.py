"""How good a face detector is: recall and precision by size, roll and cut, average precision, time per frame.

The scenes are validation photographs put into 640 x 480 frames in a fixed way: alone, in grids down to faces of ten
pixels, rolled, and cut by the frame's edge. Every detector sees the same frames.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from vtrack.models.faceboxes import overlaps
from vtrack.training.detect_labels import COLLECTIONS, DOUBTFUL, upright
from vtrack.training.detect_scenes import Album, Picture, draw, moved
from vtrack.types import Detections, Detector, FloatArray, Frame

WIDTH, HEIGHT = 640, 480
WILD = ("w68", "ytf68", "fgnet68")
"""Collections shown in scenes; studio portraits are too easy to tell detectors apart."""
GRIDS = (1, 2, 4, 8, 14)
TURNS = (30, -30, 60, -60, 90, -90)
SIZES = ((10, 20), (20, 40), (40, 80), (80, 10_000))
ROLLS = ((0, 15), (15, 45), (45, 100))
PRECISION = 0.95
"""Recalls are compared at this precision."""
SAME = 0.5
"""Overlap from which a find is a hit."""


@dataclass(frozen=True, eq=False)
class EvalScene:
    """One frame and the faces in it."""

    frame: Frame
    kind: str
    """`size`, `roll` or `cut`: what the scene is there to measure."""
    boxes: FloatArray
    """(faces, 4) x0, y0, x1, y1; may leave the frame."""
    rolls: FloatArray
    """(faces,) degrees."""
    ignored: np.ndarray
    """(faces,) True where it does not matter whether it is found."""


def eval_scenes(album: Album) -> Iterator[EvalScene]:
    """All scenes, always the same."""
    wild = [picture for picture in album.pictures if COLLECTIONS[picture.collection].name in WILD]
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


def _compose(
    number: int, kind: str, pictures: Sequence[Picture], columns: int, rows: int, turns: list[int]
) -> EvalScene:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    boxes, rolls, ignored = [], [], []
    for place, (picture, turn) in enumerate(zip(pictures, turns, strict=True)):
        x0, x1 = ((place % columns + i) * WIDTH // columns for i in (0, 1))
        y0, y1 = ((place // columns + i) * HEIGHT // rows for i in (0, 1))
        matrix = _cut(picture, number) if kind == "cut" else _fit(picture, turn, (x0, y0, x1, y1))
        draw(picture, matrix, image[y0:y1, x0:x1], (x0, y0), cv2.BORDER_CONSTANT)
        for hull, anchors, sort in zip(picture.hulls, picture.anchors, picture.kinds, strict=True):
            points, eyes = moved(matrix, hull, anchors)
            box = np.concatenate([points.min(0), points.max(0)])
            seen = np.clip(np.minimum(box[2:], (x1, y1)) - np.maximum(box[:2], (x0, y0)), 0, None).prod()
            share = seen / (box[2:] - box[:2]).prod()
            if share > 0:
                boxes.append(box)
                rolls.append(np.degrees(upright(eyes)))
                ignored.append(sort == DOUBTFUL or share < 0.5 or (box[2:] - box[:2]).max() < SIZES[0][0])
    frame = Frame(image, number, number, Fraction(1, 25))
    return EvalScene(frame, kind, np.array(boxes).reshape(-1, 4), np.array(rolls), np.array(ignored, bool))


def _fit(picture: Picture, turn: int, cell: tuple[int, int, int, int]) -> FloatArray:
    """(2, 3) map that shows the whole photograph, turned about its main face, in a cell."""
    height, width = picture.levels[0].shape[:2]
    x0, y0, x1, y1 = cell
    scale = min((x1 - x0) / width, (y1 - y0) / height)
    angle = np.radians(turn)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    hull = picture.hulls[0]
    pivot = (hull.min(0) + hull.max(0)) / 2 if turn else np.array([(width - 1) / 2, (height - 1) / 2])
    middle = np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2])
    return np.concatenate([matrix, (middle - matrix @ pivot)[:, None]], 1)


def _cut(picture: Picture, number: int) -> FloatArray:
    """(2, 3) map that pushes the main face over an edge of the frame, so that 25 to 45 % of it is lost."""
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


@dataclass(frozen=True)
class Line:
    """One class of faces."""

    name: str
    faces: int
    recall: float
    """At the detector's own threshold."""
    precision: float
    recall_at: float
    """At a threshold that gives this class a precision of `PRECISION`."""


@dataclass(frozen=True)
class DetectorReport:
    """What `evaluate_detector` found."""

    detector: str
    lines: tuple[Line, ...]
    average_precision: float
    milliseconds: float
    """Median of one frame at a time."""

    def table(self) -> str:
        """As text."""
        head = (
            f"{self.detector}: AP {self.average_precision:.3f}, {self.milliseconds:.1f} ms a frame of {WIDTH}x{HEIGHT}"
        )
        rows = [f"{'faces':<14}{'count':>7}{'recall':>9}{'precision':>11}{f'recall at P={PRECISION}':>18}"]
        rows += [
            f"{line.name:<14}{line.faces:>7}{line.recall:>9.3f}{line.precision:>11.3f}{line.recall_at:>18.3f}"
            for line in self.lines
        ]
        return "\n".join([head, *rows])


def evaluate_detector(detector: Detector, scenes: Sequence[EvalScene], threshold: float) -> DetectorReport:
    """Run a detector on scenes. Give it a low threshold of its own, so that its whole curve shows; `threshold` is the
    one it is used with."""
    finds, seconds = [], []
    for scene in scenes:
        began = time.perf_counter()
        finds.append(detector.detect([scene.frame])[0])
        seconds.append(time.perf_counter() - began)
    return report(detector.name, scenes, finds, threshold, float(np.median(seconds) * 1e3))


def report(
    name: str, scenes: Sequence[EvalScene], finds: Sequence[Detections], threshold: float, milliseconds: float
) -> DetectorReport:
    """The figures from finds made before, possibly elsewhere."""
    found, faces = _matched(scenes, finds)
    of_size = found["kind"] == "size"
    face_of_size = faces["kind"] == "size"
    longest = found["longest"]

    def line(label: str, mine: np.ndarray, theirs: np.ndarray) -> Line:
        hit, score = found["hit"][mine], found["score"][mine]
        hit_face, best = faces["score"][theirs] > 0, faces["score"][theirs]
        count = max(int(theirs.sum()), 1)
        strong = score >= threshold
        order = np.argsort(-score, kind="stable")
        precise = hit[order].cumsum() / np.arange(1, len(hit) + 1)
        enough = np.flatnonzero(precise >= PRECISION)
        limit = score[order][enough[-1]] if len(enough) else np.inf
        return Line(
            label,
            int(theirs.sum()),
            float((hit_face & (best >= threshold)).sum() / count),
            float(hit[strong].mean()) if strong.any() else 1.0,
            float((hit_face & (best >= limit)).sum() / count),
        )

    lines = []
    for low, high in SIZES:
        label = f"{low}-{high} px" if high < 1000 else f"over {low} px"
        mine, theirs = (
            of_size & (longest >= low) & (longest < high),
            face_of_size & (faces["longest"] >= low) & (faces["longest"] < high),
        )
        lines.append(line(label, mine, theirs))
    turned = faces["kind"] == "roll"
    for low, high in ROLLS[1:]:
        theirs = turned & (faces["roll"] >= low) & (faces["roll"] < high)
        lines.append(line(f"roll {low}-{high}", found["kind"] == "roll", theirs))
    lines.append(line("cut", found["kind"] == "cut", faces["kind"] == "cut"))
    lines.append(line("all", np.ones(len(longest), bool), np.ones(len(faces["score"]), bool)))

    order = np.argsort(-found["score"], kind="stable")
    hits = found["hit"][order]
    recall = hits.cumsum() / max(len(faces["score"]), 1)
    precision = np.maximum.accumulate((hits.cumsum() / np.arange(1, len(hits) + 1))[::-1])[::-1]
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    return DetectorReport(name, tuple(lines), area, milliseconds)


def _matched(
    scenes: Sequence[EvalScene], finds: Sequence[Detections]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Finds with whether each is a hit, and faces with the score of their find (0 for none); the ignored left out."""
    found: dict[str, list[object]] = {"kind": [], "hit": [], "score": [], "longest": []}
    faces: dict[str, list[object]] = {"kind": [], "roll": [], "score": [], "longest": []}
    for scene, found_here in zip(scenes, finds, strict=True):
        boxes = np.concatenate([found_here.boxes[:, :2], found_here.boxes[:, :2] + found_here.boxes[:, 2:]], 1)
        shared = overlaps(boxes, scene.boxes)
        best = np.zeros(len(scene.boxes))
        for i in np.argsort(-found_here.scores, kind="stable"):
            free = np.where((best == 0) & ~scene.ignored, shared[i], 0.0)
            place = int(free.argmax()) if len(free) else 0
            hit = bool(len(free) and free[place] >= SAME)
            if hit:
                best[place] = found_here.scores[i]
            elif _ignorable(boxes[i], scene):
                continue
            for key, value in (
                ("kind", scene.kind),
                ("hit", hit),
                ("score", found_here.scores[i]),
                ("longest", (boxes[i, 2:] - boxes[i, :2]).max()),
            ):
                found[key].append(value)
        for place in np.flatnonzero(~scene.ignored).tolist():
            faces["kind"].append(scene.kind)
            faces["roll"].append(abs(scene.rolls[place]))
            faces["score"].append(best[place])
            faces["longest"].append((scene.boxes[place, 2:] - scene.boxes[place, :2]).max())
    return {key: np.array(value) for key, value in found.items()}, {
        key: np.array(value) for key, value in faces.items()
    }


def _ignorable(box: FloatArray, scene: EvalScene) -> bool:
    """True for a find on a face that does not count: mostly inside its box, or hardly bigger than the smallest class."""
    if (box[2:] - box[:2]).max() < SIZES[0][0]:
        return True
    others = scene.boxes[scene.ignored]
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    return bool((shared > 0.4 * (box[2:] - box[:2]).prod()).any())
