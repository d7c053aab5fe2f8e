"""Publishes a training run as a model: weights, ONNX graphs, and a card with calibration and scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.anchors import ANCHORS
from vtrack.data.store import FaceStore, plain_batches, plain_faces
from vtrack.errors import ModelError
from vtrack.layouts.middles import SUFFIX
from vtrack.models.card import Card
from vtrack.models.checksums import checksums_of
from vtrack.models.engines.onnx import OnnxEngine
from vtrack.models.engines.registry import INT8
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.export.onnx import export_onnx
from vtrack.models.export.quantise import quantise
from vtrack.models.networks import build_network, load_network, save_weights
from vtrack.training.common.checkpoint import load_run, whole_recipe, without_prefix
from vtrack.training.landmarks.batches import empty_crops
from vtrack.training.landmarks.loop import CHECKPOINT, open_stores
from vtrack.types import FloatArray, LandmarkModel

log = logging.getLogger(__name__)

COVERED = 0.68
"""Share of coordinate errors that must be below one sigma."""

CALIBRATION_FACES, CALIBRATION_EMPTY = 192, 64
"""Crops with and without a face on which 8-bit graphs are calibrated."""
WORST_LOSS = 0.02
"""Largest relative increase of the error that an 8-bit graph may have."""

TERMS = {
    "w68": "parts of Helen, LFPW and AFW as in 300W's training side; research, non-commercial",
    "ytf68": "frames of YouTube Faces, automatic labels; research",
    "fgnet68": "FG-NET; research",
    "scut86": "SCUT-FBP5500; research",
    "frl189": "London set, 3DSK and Canada: CC-BY-4.0; celebrities: unclear",
    "helen29": "Helen; research",
    "imm73": "IMM-Frontal; free for academic use",
    "mesh": "points by mediapipe 0.10.21's face mesh (Apache-2.0) on the training photographs of the sets above",
    "states68": "points by mediapipe 0.10.21's face mesh (Apache-2.0) and by `accurate` on Closed Eyes in the Wild, Labeled "
    "Faces in the Wild, YawDD and generated pictures; research",
    "turned68": "photographs of w68 turned in depth; research, non-commercial",
}
"""Terms of use of the data sets that shipped models were trained on."""

MADE = ("turned68",)
"""Data sets whose faces are made of photographs: all of them are harder than most that a camera sees."""


def publish(run: Path, name: str, summary: str, out: Path) -> Path:
    """Write the files of a model; sigma is calibrated on the validation faces of the run's first data set.

    Args:
        run: Folder of the run, or a checkpoint.
        name: Name of the model and of its files.
        summary: One sentence for the card.
        out: Folder for `name`.safetensors, .onnx, .int8.onnx (if its error is small enough) and .json.

    Returns:
        Path of the card.

    Raises:
        ModelError: The run cannot be read, or has learned nothing yet.
    """
    tensors, state = load_run(run / CHECKPOINT if run.is_dir() else run)
    recipe: dict[str, Any] = state["recipe"]
    card = Card(name, state.get("system", "udfld"), summary, recipe["model"], taught=state.get("taught", {}))
    network = build_network(card)
    network.load_state_dict(without_prefix("mean", tensors))
    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{name}.safetensors"
    save_weights(network, weights)
    engine = TorchEngine(card, load_network(card, weights), "cpu")
    cache = run.parent / "cache" if run.is_dir() else run.parent.parent / "cache"
    stores = open_stores(recipe["data"], "val", cache)
    predictions = {store.name: _predictions(engine, store) for store in stores}
    scale = _calibration(*predictions[stores[0].name][1:])
    card = replace(
        card,
        sigma_scale=scale,
        recipe=_card_recipe(whole_recipe(state)),
        data={name: TERMS.get(name.removesuffix(SUFFIX), "the user's own") for name in _names(recipe)},
        scores=_scores(predictions, scale),
        faces=_worst_faces(engine, [store for store in stores if store.name not in MADE], scale),
    )
    graph = export_onnx(load_network(card, weights), card, weights)
    if not _publish_int8(card, graph, open_stores(recipe["data"][:1], "train", cache)[0], stores[0]):
        graph.with_suffix(INT8).unlink(missing_ok=True)
    path = out / f"{name}.json"
    replace(card, checksums=checksums_of(path)).write(path)
    return path


def _publish_int8(card: Card, graph: Path, train: FaceStore, val: FaceStore) -> bool:
    """Write the 8-bit graph, calibrated on training photographs; False if it cannot be made or its error is too large."""
    faces = np.linspace(0, len(train) - 1, min(CALIBRATION_FACES, len(train))).astype(int)
    size, margin = card.config["input_size"], card.config["margin"]
    # Without crops that show no face the 8 bits do not span their features, and presence is certain everywhere.
    empty = empty_crops(train, CALIBRATION_EMPTY, size, np.random.default_rng(0)).transpose(0, 3, 1, 2)
    images = np.concatenate([plain_faces(train, faces, size, margin)[0], empty])
    try:
        quantised = quantise(graph, images, train.layout.query)
    except ModelError as error:
        log.warning("%s gets no 8-bit graph: %s", card.name, error)
        return False
    plain, int8 = (_predictions(OnnxEngine(card, path), val)[0].mean() for path in (graph, quantised))
    log.info("%s on %s: error %.3f %%, in 8 bits %.3f %%", card.name, val.name, plain, int8)
    if int8 > plain * (1 + WORST_LOSS):
        log.warning("%s gets no 8-bit graph: its error would be %.2f %% instead of %.2f %%", card.name, int8, plain)
        return False
    return True


def _predictions(engine: LandmarkModel, store: FaceStore) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Errors of each face in % of the eye distance (n,), coordinate errors (n, L, 2) and sigma (n, L) in crop units."""
    errors, offsets, sigmas = [], [], []
    for images, truth, _ in plain_batches(store, engine.input_size, engine.margin, 64):
        prediction = engine.predict(images, store.layout.query)
        errors.append(np.linalg.norm(prediction.points - truth, axis=-1).mean(1) / store.layout.unit(truth) * 100)
        offsets.append(np.abs(prediction.points - truth))
        sigmas.append(prediction.sigma)
    return np.concatenate(errors), np.concatenate(offsets), np.concatenate(sigmas)


def _calibration(offsets: FloatArray, sigmas: FloatArray) -> float:
    """The factor on sigma after which `COVERED` of the errors are below it."""
    scale = float(np.quantile(offsets / sigmas[..., None], COVERED))
    if not np.isfinite(scale) or scale <= 0:
        raise ModelError(
            f"sigma cannot be calibrated (factor {scale}): the run has learned nothing yet; train it for longer"
        )
    return scale


def _worst_faces(engine: LandmarkModel, stores: Sequence[FaceStore], scale: float) -> dict[str, float]:
    """Sigma and presence of the worst 1 % of validation faces, see `Card.faces`."""
    sigmas, presences = [], []
    for store in stores:
        for images, _, _ in plain_batches(store, engine.input_size, engine.margin, 64):
            prediction = engine.predict(images, ANCHORS)
            sigmas.append(prediction.sigma.mean(-1) * scale * engine.margin)  # in sides of the box
            presences.append(prediction.presence)
    return {
        "sigma": round(float(np.quantile(np.concatenate(sigmas), 0.99).clip(0.001, 1.0)), 3),
        "presence": round(float(np.quantile(np.concatenate(presences), 0.01)), 3),
    }


def _scores(predictions: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]], scale: float) -> dict[str, Any]:
    """Validation errors of each data set with true boxes."""
    return {
        name: {
            "faces": len(errors),
            "nme_inter_ocular_percent": round(float(errors.mean()), 3),
            "failures_at_8_percent": round(float((errors > 8).mean() * 100), 2),
            "errors_within_sigma_percent": round(float((offsets <= sigmas[..., None] * scale).mean() * 100), 1),
        }
        for name, (errors, offsets, sigmas) in predictions.items()
    }


def _card_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe and those it started from, without options of one machine and options that were not used."""
    files = ("init", "start", "teacher")
    elsewhere = {"data", "model", "device", "threads", "loaders", "every", "in_memory", "before", *files}
    if not recipe.get("teacher"):
        elsewhere |= {"teacher_share", "labels_only"}
    kept = {key: value for key, value in recipe.items() if key not in elsewhere and value not in ((), [])}
    kept |= {key: Path(recipe[key]).name for key in files if recipe.get(key)}
    before = {"before": _card_recipe(recipe["before"])} if recipe.get("before") else {}
    return {**kept, "data": _names(recipe), "part": "train", **before}


def _names(recipe: Mapping[str, Any]) -> list[str]:
    """The data sets that a run learned from, also those without faces for validation."""
    return [spec.partition(":")[0] for spec in recipe["data"]]
