"""Engines of the native detector's network: onnxruntime on a CPU, torch on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vtrack.errors import ModelError
from vtrack.models import pick_device
from vtrack.models.card import Card
from vtrack.models.checksums import check_file
from vtrack.runtime.cores import cores
from vtrack.runtime.onnxruntime import load_onnxruntime
from vtrack.types import FloatArray, ImageArray


@dataclass(frozen=True)
class DetectorEngine:
    """The detector's network, ready to run on a device."""

    run: Callable[[ImageArray], FloatArray]
    """From `uint8` images (B, H, W, 3), sides multiples of 32, to cells (B, 7, cells) with scores as probabilities."""
    pixels: int
    """Input pixels per call that are fastest and fit into memory."""


CPU_PIXELS = 1
"""One image per call: a CPU is up to twice as fast image by image, since the activations of one fit its caches."""
GPU_PIXELS = 64 * 640 * 640
_WIDESCREEN = 384, 640
"""Height and width of the network's input for a frame of 16:9."""
_GRAPH_IMAGES = 8
"""Images in a CUDA graph: enough to keep a GPU busy, in little memory."""
MAX_THREADS = 4
"""The network is small: more threads spend more time waiting for each other than working."""


def load_engine(card: Card, path: Path, device: str, threads: int | None = None) -> DetectorEngine:
    """The engine for a device.

    Args:
        card: The detector's model card.
        path: Where the card lies; the weights (`.onnx`, `.safetensors`) lie beside it.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        threads: CPU threads of one call; by default all cores, at most `MAX_THREADS`.

    Raises:
        ModelError: The weights are missing or damaged.
    """
    place = pick_device(device)
    if place == "cpu":
        graph = path.with_suffix(".onnx")
        check_file(card, graph)
        return _onnx(graph, threads or min(cores(), MAX_THREADS))
    return _torch(card, path.with_suffix(".safetensors"), place)


def _onnx(path: Path, threads: int) -> DetectorEngine:
    onnxruntime = load_onnxruntime()

    if not path.is_file():
        raise ModelError(f"{path}: the detector's weights are not there; reinstall vtrack or export them again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads would otherwise spin on cores that decoding and encoding need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Free memory after each call: there are only a few calls a second, and the arena would double the memory in use.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path}: not a network that onnxruntime can run: {str(error).splitlines()[0]}") from error

    def run(images: ImageArray) -> FloatArray:
        cells: FloatArray = session.run(None, {"pictures": images})[0]
        return cells

    return DetectorEngine(run, CPU_PIXELS)


def _torch(card: Card, path: Path, device: str) -> DetectorEngine:
    # Torch is slow to import, and the CPU does without it.
    import torch

    from vtrack.detectors.network import FaceNetGraph, load_facenet
    from vtrack.models.engines.cuda_graphs import make_runner

    net = FaceNetGraph(load_facenet(card, path)).to(device).eval()
    runner = make_runner(device, largest=_GRAPH_IMAGES)
    # The first run on CUDA loads kernels for seconds: do it before the first frame comes.
    runner.prepare((1, *_WIDESCREEN, 3), None, net)
    return DetectorEngine(lambda images: runner(torch.from_numpy(images), None, net).numpy(), GPU_PIXELS)
