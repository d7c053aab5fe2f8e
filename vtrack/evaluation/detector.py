"""Evaluation of face detectors: recall and precision by size, roll and cut, average precision, time per frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtrack.data.scenes.validation import HEIGHT, SMALLEST, TURNED_SCENE, WIDTH, EvalScene
from vtrack.imaging.boxes import intersections, iou, xywh_to_corners
from vtrack.types import Detections, Detector, FloatArray

SIZES = ((SMALLEST, 20), (20, 40), (40, 80), (80, 10_000))
ROLLS = ((15, 45), (45, 100))
YAWS = ((0, 45), (45, 60), (60, 90))
PRECISIONS = (0.95, 0.99)
"""Recalls are compared at these precisions."""
SAME = 0.5
"""IoU from which a detection is a true positive."""


@dataclass(frozen=True)
class FaceClassScore:
    """Recall and precision on one class of faces."""

    name: str
    faces: int
    """Number of true faces."""
    recall: float
    """Recall at the detector's threshold."""
    precision: float
    """Precision at the detector's threshold."""
    recall_at: tuple[float, ...]
    """Recalls at the thresholds where this class has the precisions `PRECISIONS`."""


@dataclass(frozen=True)
class DetectorReport:
    """Result of `evaluate_detector`."""

    detector: str
    lines: tuple[FaceClassScore, ...]
    average_precision: float
    milliseconds: float
    """Median time of a frame, one frame at a time."""

    def table(self) -> str:
        """The report as text."""
        head = (
            f"{self.detector}: AP {self.average_precision:.3f}, {self.milliseconds:.1f} ms a frame of {WIDTH}x{HEIGHT}"
        )
        at = "".join(f"{f'recall at P={precision}':>18}" for precision in PRECISIONS)
        rows = [f"{'faces':<14}{'count':>7}{'recall':>9}{'precision':>11}{at}"]
        rows += [
            f"{line.name:<14}{line.faces:>7}{line.recall:>9.3f}{line.precision:>11.3f}"
            + "".join(f"{recall:>18.3f}" for recall in line.recall_at)
            for line in self.lines
        ]
        return "\n".join([head, *rows])


def evaluate_detector(detector: Detector, scenes: Sequence[EvalScene], threshold: float) -> DetectorReport:
    """Evaluate a detector on scenes.

    Args:
        detector: The detector, loaded with a low threshold, so that the whole precision-recall curve is measured.
        scenes: Frames with true faces.
        threshold: The threshold that the detector is used with.
    """
    detections, milliseconds = timed_detections(scenes, detector)
    return report(detector.name, scenes, detections, threshold, milliseconds)


def timed_detections(scenes: Sequence[EvalScene], detector: Detector) -> tuple[list[Detections], float]:
    """Detections of each scene, one at a time, and the median milliseconds of a frame of `WIDTH` x `HEIGHT`."""
    detections, seconds = [], []
    for scene in scenes:
        began = time.perf_counter()
        detections.append(detector.detect([scene.frame])[0])
        if scene.frame.size == (WIDTH, HEIGHT):
            seconds.append(time.perf_counter() - began)
    return detections, float(np.median(seconds) * 1e3)


def report(
    name: str, scenes: Sequence[EvalScene], detections: Sequence[Detections], threshold: float, milliseconds: float
) -> DetectorReport:
    """The report from detections made before, possibly elsewhere."""
    found, faces = matched(scenes, detections)
    of_size = found["kind"] == "size"
    face_of_size = faces["kind"] == "size"
    longest = found["longest"]

    def line(label: str, mine: np.ndarray, theirs: np.ndarray) -> FaceClassScore:
        hit, score = found["hit"][mine], found["score"][mine]
        hit_face, best = faces["score"][theirs] > 0, faces["score"][theirs]
        count = max(int(theirs.sum()), 1)
        strong = score >= threshold
        order = np.argsort(-score, kind="stable")
        precise = hit[order].cumsum() / np.arange(1, len(hit) + 1)
        enough = [np.flatnonzero(precise >= precision) for precision in PRECISIONS]
        limits = [score[order][places[-1]] if len(places) else np.inf for places in enough]
        return FaceClassScore(
            label,
            int(theirs.sum()),
            float((hit_face & (best >= threshold)).sum() / count),
            float(hit[strong].mean()) if strong.any() else 1.0,
            tuple(float((hit_face & (best >= limit)).sum() / count) for limit in limits),
        )

    lines = []
    for low, high in SIZES:
        label = f"{low}-{high} px" if high < 1000 else f"over {low} px"
        mine, theirs = (
            of_size & (longest >= low) & (longest < high),
            face_of_size & (faces["longest"] >= low) & (faces["longest"] < high),
        )
        lines.append(line(label, mine, theirs))
    # The precision of faces that are turned in depth is that of photographs as they are.
    for angle, kind, alarms, classes in (("roll", "roll", "roll", ROLLS), ("yaw", TURNED_SCENE, "photo", YAWS)):
        for low, high in classes if (faces["kind"] == kind).any() else ():
            theirs = (faces["kind"] == kind) & (faces[angle] >= low) & (faces[angle] < high)
            lines.append(line(f"{angle} {low}-{high}", found["kind"] == alarms, theirs))
    for label, kind in (("cut", "cut"), ("photographs", "photo")):
        lines.append(line(label, found["kind"] == kind, faces["kind"] == kind))
    listed, all_faces = found["kind"] != TURNED_SCENE, faces["kind"] != TURNED_SCENE
    lines.append(line("all", listed, all_faces))

    order = np.argsort(-found["score"][listed], kind="stable")
    hits = found["hit"][listed][order]
    recall = hits.cumsum() / max(int(all_faces.sum()), 1)
    precision = np.maximum.accumulate((hits.cumsum() / np.arange(1, len(hits) + 1))[::-1])[::-1]
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    return DetectorReport(name, tuple(lines), area, milliseconds)


def matched(
    scenes: Sequence[EvalScene], detections: Sequence[Detections]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Match detections to true faces, ignored ones left out.

    Returns:
        Columns of detections (`hit` says whether it is a true positive), and columns of true faces (`score` is that of the
        matching detection, 0 for none).
    """
    found: dict[str, list[object]] = {"kind": [], "hit": [], "score": [], "longest": []}
    faces: dict[str, list[object]] = {"kind": [], "roll": [], "yaw": [], "score": [], "longest": []}
    for scene, scene_detections in zip(scenes, detections, strict=True):
        boxes = xywh_to_corners(scene_detections.boxes)
        shared = iou(boxes, scene.boxes)
        best = np.zeros(len(scene.boxes))
        for i in np.argsort(-scene_detections.scores, kind="stable"):
            free = np.where((best == 0) & ~scene.ignored, shared[i], 0.0)
            place = int(free.argmax()) if len(free) else 0
            hit = bool(len(free) and free[place] >= SAME)
            if hit:
                best[place] = scene_detections.scores[i]
            elif _ignorable(boxes[i], scene):
                continue
            for key, value in (
                ("kind", scene.kind),
                ("hit", hit),
                ("score", scene_detections.scores[i]),
                ("longest", (boxes[i, 2:] - boxes[i, :2]).max()),
            ):
                found[key].append(value)
        for place in np.flatnonzero(~scene.ignored).tolist():
            faces["kind"].append(scene.kind)
            faces["roll"].append(abs(scene.rolls[place]))
            faces["yaw"].append(abs(scene.yaws[place]))
            faces["score"].append(best[place])
            faces["longest"].append((scene.boxes[place, 2:] - scene.boxes[place, :2]).max())
    return {key: np.array(value) for key, value in found.items()}, {
        key: np.array(value) for key, value in faces.items()
    }


def _ignorable(box: FloatArray, scene: EvalScene) -> bool:
    """Whether a detection lies mostly inside an ignored face, or is smaller than the smallest class."""
    if (box[2:] - box[:2]).max() < SMALLEST:
        return True
    others = scene.boxes[scene.ignored]
    shared = intersections(box[None], others)[0]
    return bool((shared > 0.4 * (box[2:] - box[:2]).prod()).any())
