"""From a finished training run to what the package ships: weights, their ONNX twin and a card with calibrated scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import isotonic_regression

from vtrack.errors import MissingExtraError
from vtrack.models.card import Card
from vtrack.models.facenet import Exported, FaceNet, load_facenet
from vtrack.types import FloatArray

KNOTS = 12
"""Of the calibration curve."""


def calibrate(scores: FloatArray, hits: np.ndarray) -> dict[str, list[float]]:
    """A rising curve from the network's scores to the share of finds with that score that are faces."""
    order = np.argsort(scores)
    share = isotonic_regression(hits[order].astype(np.float64)).x
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, KNOTS)))
    smooth = np.interp(edges, scores[order], np.convolve(np.pad(share, 25, "edge"), np.full(51, 1 / 51), "valid"))
    # Strictly rising and through the corners, so that thresholds have one place on it.
    knots = np.concatenate([[0.0], edges, [1.0]])
    values = np.concatenate([[0.0], np.clip(smooth, 0.001, 0.999), [1.0]])
    values = np.maximum.accumulate(values + np.arange(len(values)) * 1e-5)
    return {"score": np.round(knots, 5).tolist(), "share": np.round(values / values[-1], 5).tolist()}


def export_onnx(net: FaceNet, path: Path) -> None:
    """The network as an ONNX graph for any number of pictures of any size in steps of 32."""
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting needs the export extra: pip install 'vtrack[export]'") from error
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    program = torch.onnx.export(
        Exported(net).eval(),
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
    # The exporter's notes on where each node came from outweigh the graph and hold paths of the exporting machine.
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(model, str(path))


def ship(run: Path, card: Path, config: Mapping[str, Any], **about: Any) -> Card:
    """Put a run's weights, their ONNX twin and a card with `config` beside the network's options at `card` (.json)."""
    options = json.loads((run / "options.json").read_text(encoding="utf-8"))
    shutil.copyfile(run / "weights.safetensors", card.with_suffix(".safetensors"))
    content = Card("native", "detector", config={"network": options["net"], **config}, **about)
    content.write(card)
    export_onnx(load_facenet(content, card.with_suffix(".safetensors")), card.with_suffix(".onnx"))
    return content
