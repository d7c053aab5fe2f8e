"""Publishes a training run of the face detector: weights, ONNX graph, and a card with calibrated scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.optimize import isotonic_regression

from vtrack.data.scenes.labels import COLLECTIONS
from vtrack.data.scenes.validation import TURNED_SCENE, eval_scenes, validation_pictures
from vtrack.detectors.network import FaceNet, FaceNetGraph
from vtrack.errors import MissingExtraError, ModelError
from vtrack.evaluation.detector import PRECISIONS, DetectorReport, matched, report, timed_detections
from vtrack.models.card import Card
from vtrack.models.checksums import checksums_of
from vtrack.models.export.onnx_tools import exporter_silent, strip_metadata
from vtrack.training.detector.loop import OPTIONS, WEIGHTS
from vtrack.training.landmarks.publish import TERMS
from vtrack.types import Detections, Detector, FloatArray

KNOTS = 25
"""Knots of the calibration curve, evenly spaced: nearly all quantiles would be scores of non-faces."""
SUMMARY = "Face detector: anchor-free, strides 4 to 32, 0.35 M parameters; landmark boxes, roll and calibrated scores."
RECIPE = {
    "scenes": "composed: mosaics, single photographs, pasted heads; faces of 8 px and more, rolled to 180 degrees, cut, "
    "covered, blurred, dark, noisy, JPEG; captions, patterns, faceless areas and enlarged eyes and ears "
    "between them",
    "labels": "annotated faces; further faces where both of mediapipe 0.10.21's BlazeFace models (Apache-2.0) see one; "
    "where only one does, the loss looks away",
    "loss": "quality focal + 1.5 GIoU + 3 roll",
    "optimiser": "AdamW, cosine; each stage starts from the weights of the one before",
}


def calibrate(scores: FloatArray, hits: np.ndarray) -> dict[str, list[float]]:
    """Fit a rising curve from the network's scores to the share of detections with that score that are faces.

    Args:
        scores: (n,) scores of detections.
        hits: (n,) bool: whether each is a face.
    """
    order = np.argsort(scores)
    share = isotonic_regression(hits[order].astype(np.float64)).x
    edges = np.linspace(scores.min(), scores.max(), KNOTS)
    smooth = np.interp(edges, scores[order], np.convolve(np.pad(share, 25, "edge"), np.full(51, 1 / 51), "valid"))
    # Strictly rising from (0, 0) to (1, 1), so that it can be inverted at every threshold.
    knots = np.concatenate([[0.0], edges, [1.0]])
    values = np.concatenate([[0.0], np.clip(smooth, 0.001, 0.999), [1.0]])
    values = np.maximum.accumulate(values + np.arange(len(values)) * 1e-5)
    return {"score": np.round(knots, 5).tolist(), "share": np.round(values / values[-1], 5).tolist()}


def export_onnx(net: FaceNet, path: Path) -> None:
    """Write the network as an ONNX graph for any number of images whose sides are multiples of 32.

    Raises:
        MissingExtraError: The export extra is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting needs the export extra: pip install 'vtrack[export]'") from error
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    with exporter_silent():
        program = torch.onnx.export(
            FaceNetGraph(net).eval(),
            (torch.zeros(2, 96, 160, 3, dtype=torch.uint8),),
            dynamo=True,
            opset_version=18,
            input_names=["pictures"],
            output_names=["cells"],
            dynamic_shapes=({0: batch, 1: 32 * rows, 2: 32 * columns},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip_metadata(model)
    onnx.save(model, str(path))


def ship(run: Path, card: Path, load: Callable[[Path], Detector], threshold: float = 0.5) -> DetectorReport:
    """Write the weights of a run, their ONNX graph and a card with calibrated scores.

    Args:
        run: Folder of the run.
        card: Path of the card (`.json`); the other files are written beside it.
        load: Makes a detector from a card, with a low threshold. Scores are calibrated on its detections, as in use.
        threshold: Threshold of the detector.

    Returns:
        Evaluation of the calibrated detector on the validation scenes.

    Raises:
        ModelError: The run detects no faces yet.
        MissingExtraError: The export extra is not installed.
    """
    options = json.loads((run / OPTIONS).read_text(encoding="utf-8"))
    net = FaceNet(**options["net"])
    net.load_state_dict(load_file(run / WEIGHTS))
    shutil.copyfile(run / WEIGHTS, card.with_suffix(".safetensors"))
    export_onnx(net, card.with_suffix(".onnx"))
    data = Path(options["data"])
    content = Card(
        card.stem,
        "detector",
        SUMMARY,
        config={
            "network": options["net"],
            "calibration": {"score": [0.0, 1.0], "share": [0.0, 1.0]},
            "threshold": threshold,
        },
        recipe={**RECIPE, "steps": options["step"], "size": options["size"]},
        data={entry.name: TERMS[entry.name] for entry in COLLECTIONS if (data / f"{entry.name}.zip").is_file()},
        checksums=checksums_of(card),
    )
    content.write(card)
    scenes = list(eval_scenes(validation_pictures(data)))
    detections, milliseconds = timed_detections(scenes, load(card))
    columns, _ = matched(scenes, detections)
    listed = columns["kind"] != TURNED_SCENE  # a face that is on no list would count as a false alarm
    scores, hits = columns["score"][listed], columns["hit"][listed]
    if not hits.any():
        raise ModelError("scores cannot be calibrated: the run finds no face yet; train it for longer")
    curve = calibrate(scores, hits)
    calibrated = [
        Detections(each.boxes, np.interp(each.scores, curve["score"], curve["share"]), each.angles)
        for each in detections
    ]
    figures = report(card.stem, scenes, calibrated, threshold, milliseconds)
    results = {
        "average_precision": round(figures.average_precision, 4),
        "precision": PRECISIONS[0],
        "recall_at_precision": {line.name: round(line.recall_at[0], 4) for line in figures.lines},
        "recall_at_threshold": {line.name: round(line.recall, 4) for line in figures.lines},
        "precision_at_threshold": {line.name: round(line.precision, 4) for line in figures.lines},
    }
    replace(content, config={**content.config, "calibration": curve}, scores=results).write(card)
    return figures
