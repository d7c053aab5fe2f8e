"""Standalone models for other programs: one file for one query, with preprocessing and calibration inside.

Input: `image` (height, width, 3), a square crop of a frame around a face, RGB bytes, of any size. Outputs: `points`
(points, 2) as x, y in crop units (0..1 over the crop; they may lie outside), `sigma` (points,) in the same units, and
`presence` (1,), the probability that the crop shows a face; of models that tell it, `hidden` (points,), the probability that
something hides the point.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack._version import __version__
from vtrack.errors import MissingExtraError, ModelError
from vtrack.models import card_path
from vtrack.models.card import Card, check_parts, read_landmark_card
from vtrack.models.decoding.interpolation import TaughtPositions, plan_query
from vtrack.models.engines.base import encode_query
from vtrack.models.engines.openvino import core, load_openvino
from vtrack.models.export.onnx import ExportableNetwork, output_names
from vtrack.models.export.onnx_tools import exporter_silent, to_half_precision
from vtrack.models.networks import load_network
from vtrack.runtime.onnxruntime import load_onnxruntime
from vtrack.types import Query

SUFFIXES = {"onnx": (".onnx", "_example.py"), "torchscript": (".pt",), "openvino": (".xml", ".bin")}
"""Endings of the files of each format, all after one name; the first is that of the named file."""
_EXAMPLE = Path(__file__).with_name("onnx_example.txt")
"""A program that uses an ONNX file by its metadata alone, written beside each."""
AGREEMENT = 1e-3
"""Largest allowed difference from torch's result, in crop units."""


class FixedQueryNetwork(nn.Module):
    """A network with a fixed query, and with resizing, interpolation and calibration inside."""

    parts: Tensor
    positions: Tensor
    on_curve: Tensor | None
    between: Tensor | None

    def __init__(self, network: nn.Module, card: Card, query: Query) -> None:
        super().__init__()
        self.answer = ExportableNetwork(network)
        self.card = card
        self.size: int = card.config["input_size"]
        plan = plan_query(query, TaughtPositions.of(card))
        arrays = (*encode_query(plan.network_query), plan.points, plan.sigma)
        for name, array in zip(("parts", "positions", "on_curve", "between"), arrays, strict=True):
            self.register_buffer(name, None if array is None else torch.from_numpy(np.array(array)))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Points, sigma, presence and perhaps hidden of one crop (height, width, 3) of bytes."""
        picture = image.permute(2, 0, 1)[None].float()
        # With antialiasing, since a crop is mostly larger than the network's input.
        scaled = functional.interpolate(picture, (self.size, self.size), mode="bilinear", antialias=True)
        crops = scaled.round().clamp(0, 255).to(torch.uint8)
        points, sigma, presence, *hidden = self.answer(crops, self.parts, self.positions)
        points, (sigma, *hidden) = points[0], (values[0] for values in (sigma, *hidden))
        if self.on_curve is not None and self.between is not None:
            points, (sigma, *hidden) = self.on_curve @ points, (self.between @ values for values in (sigma, *hidden))
        return points, sigma * self.card.sigma_scale, presence, *hidden


@dataclass(frozen=True)
class ExportReport:
    """The written file, and how well it agrees with torch."""

    path: Path
    points: int
    gap: float
    """Largest difference of a coordinate, sigma or probability from torch's, in crop units."""


def export(name: str, query: Query, format: str, out: Path) -> ExportReport:
    """Write a standalone model, and check it against torch first; a failed check leaves no file.

    Args:
        name: Name of a shipped model, or path of a card.
        query: The points that the file computes.
        format: Key of `SUFFIXES`.
        out: Path of the file.

    Raises:
        ModelError: There is no such model, or the file would give other points than torch.
        UsageError: The model knows none of the parts.
        MissingExtraError: The format needs an extra that is not installed.
    """
    path = card_path(name)
    card = read_landmark_card(path)
    check_parts(card, query)
    network = (
        FixedQueryNetwork(load_network(card, path.with_suffix(".safetensors")), card, query)
        .eval()
        .requires_grad_(False)
    )
    rng = np.random.default_rng(0)
    # Smooth random images, smaller and larger than the network's input.
    images = [
        functional.interpolate(torch.from_numpy(rng.uniform(0, 255, (1, 3, 9, 9))), (side, side), mode="bicubic")[0]
        .permute(1, 2, 0)
        .clamp(0, 255)
        .to(torch.uint8)
        for side in (network.size // 2 + 3, network.size, 3 * network.size)
    ]
    write = {"onnx": _onnx, "torchscript": _torchscript, "openvino": _openvino}[format]
    with tempfile.TemporaryDirectory(prefix=".", dir=out.parent) as folder:
        part = Path(folder, out.name)
        with torch.inference_mode():
            truth = [network(image) for image in images]
            outputs = write(network, images, part, query)
        gap = max(
            float((one - other).abs().max())
            for a, b in zip(truth, outputs, strict=True)
            for one, other in zip(a, b, strict=True)
        )
        if not gap < AGREEMENT:
            raise ModelError(
                f"{out}: not written, since its points would differ from torch's by {gap:.4f} of the crop's side"
            )
        for written, target in reversed(list(zip(files_of(part, format), files_of(out, format), strict=True))):
            written.replace(target)
    return ExportReport(out, len(query), gap)


def files_of(out: Path, format: str) -> list[Path]:
    """All files that are written for a named file, which comes first."""
    return [out.with_name(out.stem + ending) for ending in SUFFIXES[format]]


_OUTPUTS = {
    "points": "(points, 2) x, y in units of the crop: 0 to 1, may lie outside",
    "sigma": "(points,) standard deviation of a coordinate, in units of the crop",
    "presence": "(1,) probability that the crop shows a face",
    "hidden": "(points,) probability that something in front of the face hides the point",
}
"""What the outputs are."""


def _metadata(network: FixedQueryNetwork, query: Query) -> str:
    """The file's metadata: all that another program has to know to use it, as JSON."""
    return json.dumps(
        {
            "points": query.names,
            "parts": query.parts,
            "positions": query.positions,
            "margin": network.card.config["margin"],
            "box": "the smallest upright box around jaw, brows, eyes, nose and mouth: from the brows to the chin",
            "crop": "a square around the centre of the box; its side is `margin` times the longer side of the box; black "
            "outside the image; where a head is tilted, turned with it, so that the head is upright in the crop",
            "pixels": "a pixel's centre has whole coordinates; of a crop whose first pixel is (left, top) in the image, the "
            "point u lies at (left - 0.5 + u[0] * side, top - 0.5 + u[1] * side)",
            "input": {
                "image": "the crop: uint8, (side, side, 3), RGB, of any side; it is resized and normalised inside"
            },
            "outputs": {name: _OUTPUTS[name] for name in output_names(network.card)},
            "model": network.card.describe(query),
            "vtrack": __version__,
        }
    )


def _onnx(network: FixedQueryNetwork, images: list[Tensor], path: Path, query: Query) -> list[tuple[Tensor, ...]]:
    """Write an ONNX graph and an example beside it, and return onnxruntime's outputs."""
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting ONNX needs the export extra: pip install 'vtrack[export]'") from error
    onnxruntime = load_onnxruntime()

    height, width = torch.export.Dim("height", min=2), torch.export.Dim("width", min=2)
    with exporter_silent():
        program = torch.onnx.export(
            network,
            (images[-1],),
            dynamo=True,
            input_names=["image"],
            output_names=output_names(network.card),
            dynamic_shapes=({0: height, 1: width},),
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # The weights come in half precision from the model's own file. Runtimes convert them to floats when they load the graph.
    to_half_precision(onnx, model)
    onnx.helper.set_model_props(model, {"vtrack": _metadata(network, query)})
    onnx.save(model, str(path))
    files_of(path, "onnx")[1].write_text(_EXAMPLE.read_text("utf-8").replace("NAME", path.stem, 1), encoding="utf-8")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [tuple(torch.from_numpy(a) for a in session.run(None, {"image": image.numpy()})) for image in images]


def _openvino(network: FixedQueryNetwork, images: list[Tensor], path: Path, query: Query) -> list[tuple[Tensor, ...]]:
    """Write OpenVINO's two files and return its outputs."""
    openvino = load_openvino()
    graph = path.with_suffix(".onnx")
    _onnx(network, images, graph, query)
    model = core().read_model(graph)
    # OpenVINO's import of the graph drops the antialiasing: replace the resize.
    scale = next(node for node in model.get_ordered_ops() if node.get_attributes().get("antialias"))
    sides = np.array([network.size, network.size], np.int64)
    scaled = openvino.opset11.interpolate(
        scale.input_value(0), sides, "bilinear_pillow", "sizes", axes=np.array([2, 3], np.int64)
    )
    for user in scale.output(0).get_target_inputs():
        user.replace_source_output(scaled.output(0))
    model.set_rt_info(_metadata(network, query), ["vtrack"])
    openvino.save_model(model, path)
    # In full precision: on CPUs with bfloat16 OpenVINO would compute with three digits.
    compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [tuple(torch.from_numpy(output) for output in compiled(image.numpy()).to_tuple()) for image in images]


def _torchscript(
    network: FixedQueryNetwork, images: list[Tensor], path: Path, query: Query
) -> list[tuple[Tensor, ...]]:
    """Write a TorchScript file and return the outputs of the file read again."""
    with warnings.catch_warnings():
        # Torch warns that TorchScript is deprecated, and of each constant that tracing fixes.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, images[-1], check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={"vtrack.json": _metadata(network, query)})
        read = torch.jit.load(str(path))
    return [read(image) for image in images]
