"""Models for other programs: one file that answers one query, with all that comes before and after inside.

In goes `image` (height, width, 3), a square cut of a frame around a face in RGB bytes, of any size. Out come `points`
(points, 2) as x, y in the cut's units (0..1 over it; they may lie outside), `sigma` (points,) in the same units, and
`presence` (1,), the probability that it shows a face.
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

from vtrack.errors import MissingExtraError, ModelError
from vtrack.models import card_path
from vtrack.models.card import Card, read_card
from vtrack.models.decoding.interpolation import Taught, reading
from vtrack.models.engines.base import encoded
from vtrack.models.engines.openvino import core, load_openvino
from vtrack.models.export.onnx import Answer
from vtrack.models.export.onnx_tools import strip_notes
from vtrack.models.networks import load_network
from vtrack.types import Query

SUFFIXES = {"onnx": (".onnx",), "torchscript": (".pt",), "openvino": (".xml", ".bin")}
"""What the files of a format end in; the first is the one that is named."""
AGREEMENT = 1e-3
"""How far a point may lie from torch's, in the cut's units."""


class Baked(nn.Module):
    """A network with its query, its scaling and its calibration."""

    parts: Tensor
    positions: Tensor
    on_curve: Tensor | None
    between: Tensor | None

    def __init__(self, network: nn.Module, card: Card, query: Query) -> None:
        super().__init__()
        self.answer = Answer(network)
        self.size: int = card.config["input_size"]
        self.sigma_scale = card.sigma_scale
        plan = reading(query, Taught.of(card))
        arrays = (*encoded(plan.asked), plan.points, plan.sigma)
        for name, array in zip(("parts", "positions", "on_curve", "between"), arrays, strict=True):
            self.register_buffer(name, None if array is None else torch.from_numpy(np.array(array)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One cut (height, width, 3) of bytes."""
        picture = image.permute(2, 0, 1)[None].float()
        # Antialiasing, for a cut is mostly larger than what the network sees.
        scaled = functional.interpolate(picture, (self.size, self.size), mode="bilinear", antialias=True)
        crops = scaled.round().clamp(0, 255).to(torch.uint8)
        points, sigma, presence = self.answer(crops, self.parts, self.positions)
        points, sigma = points[0], sigma[0]
        if self.on_curve is not None and self.between is not None:
            points, sigma = self.on_curve @ points, self.between @ sigma
        return points, sigma * self.sigma_scale, presence


@dataclass(frozen=True)
class Export:
    """What was written, and how well it agrees with torch."""

    path: Path
    points: int
    gap: float
    """Largest distance of a coordinate or sigma from torch's, in the cut's units."""


def export(name: str, query: Query, format: str, out: Path) -> Export:
    """Write the model for this query, once it has been seen to say what torch says; nothing is left behind else."""
    path = card_path(name)
    card = read_card(path)
    baked = Baked(load_network(card, path.with_suffix(".safetensors")), card, query).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    # Smooth random pictures, smaller and larger than the network's own size.
    images = [
        functional.interpolate(torch.from_numpy(rng.uniform(0, 255, (1, 3, 9, 9))), (side, side), mode="bicubic")[0]
        .permute(1, 2, 0)
        .clamp(0, 255)
        .to(torch.uint8)
        for side in (baked.size // 2 + 3, baked.size, 3 * baked.size)
    ]
    write = {"onnx": _onnx, "torchscript": _torchscript, "openvino": _openvino}[format]
    with tempfile.TemporaryDirectory(prefix=".", dir=out.parent) as folder:
        part = Path(folder, out.name)
        with torch.inference_mode():
            truth = [baked(image) for image in images]
            said = write(baked, images, part, query)
        gap = max(
            float((one - other).abs().max())
            for a, b in zip(truth, said, strict=True)
            for one, other in zip(a, b, strict=True)
        )
        if not gap < AGREEMENT:
            raise ModelError(
                f"{out}: not written, for it would say otherwise than torch by {gap:.4f} of the cut's side"
            )
        for suffix in reversed(SUFFIXES[format]):
            part.with_suffix(suffix).replace(out.with_suffix(suffix))
    return Export(out, len(query), gap)


def _facts(query: Query) -> str:
    """What the file itself says of its points."""
    return json.dumps({"points": query.names, "parts": query.parts, "positions": query.positions})


def _onnx(baked: Baked, images: list[Tensor], path: Path, query: Query) -> list[tuple[Tensor, ...]]:
    """Write an ONNX graph; what onnxruntime makes of it."""
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting ONNX needs the export extra: pip install 'vtrack[export]'") from error
    import onnxruntime

    height, width = torch.export.Dim("height", min=2), torch.export.Dim("width", min=2)
    program = torch.onnx.export(
        baked,
        (images[-1],),
        dynamo=True,
        input_names=["image"],
        output_names=["points", "sigma", "presence"],
        dynamic_shapes=({0: height, 1: width},),
        opset_version=20,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    strip_notes(model)
    onnx.helper.set_model_props(model, {"vtrack": _facts(query)})
    onnx.save(model, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [tuple(torch.from_numpy(a) for a in session.run(None, {"image": image.numpy()})) for image in images]


def _openvino(baked: Baked, images: list[Tensor], path: Path, query: Query) -> list[tuple[Tensor, ...]]:
    """Write OpenVINO's two files; what it makes of them."""
    openvino = load_openvino()
    graph = path.with_suffix(".onnx")
    _onnx(baked, images, graph, query)
    model = core().read_model(graph)
    # Its own reading of the graph scales pictures down without antialiasing.
    scale = next(node for node in model.get_ordered_ops() if node.get_attributes().get("antialias"))
    sides = np.array([baked.size, baked.size], np.int64)
    scaled = openvino.opset11.interpolate(
        scale.input_value(0), sides, "bilinear_pillow", "sizes", axes=np.array([2, 3], np.int64)
    )
    for user in scale.output(0).get_target_inputs():
        user.replace_source_output(scaled.output(0))
    model.set_rt_info(_facts(query), ["vtrack"])
    openvino.save_model(model, path)
    # In full precision, wherever it is: processors with bfloat16 would else be used at three digits.
    network = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [tuple(torch.from_numpy(answer) for answer in network(image.numpy()).to_tuple()) for image in images]


def _torchscript(baked: Baked, images: list[Tensor], path: Path, query: Query) -> list[tuple[Tensor, ...]]:
    """Write a TorchScript file; what it says once read again."""
    with warnings.catch_warnings():
        # Torch would rather see other formats used, and tells of each constant that it finds.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(baked, images[-1], check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={"vtrack.json": _facts(query)})
        read = torch.jit.load(str(path))
    return [read(image) for image in images]
