"""What runs the detector's network: onnxruntime on a CPU, torch on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vtrack.errors import ModelError
from vtrack.models import pick_device
from vtrack.models.card import Card
from vtrack.runtime.cores import cores
from vtrack.types import FloatArray, ImageArray


@dataclass(frozen=True)
class Engine:
    """A network ready to run."""

    run: Callable[[ImageArray], FloatArray]
    """From pictures (B, H, W, 3), sides multiples of 32, to cells (B, 7, cells) with scores as probabilities."""
    pixels: int
    """Input pixels that are best, and safely, run at a time."""


ONE_PICTURE = 1
"""A CPU is up to twice as fast picture by picture: what one picture leaves behind still fits its caches."""
MANY = 64 * 640 * 640
_USUAL = 384, 640
"""Height and width of what the detector makes of a frame of 16 by 9."""
_LARGEST = 8
"""Pictures in a recorded graph: enough for a GPU, and little memory."""
MOST_THREADS = 4
"""The network is small: more threads wait for each other longer than they work."""


def load_engine(card: Card, path: Path, device: str, threads: int | None = None) -> Engine:
    """The engine for a device, with the weights beside the card at `path`. `threads` are the CPU's."""
    place = pick_device(device)
    if place == "cpu":
        return _onnx(path.with_suffix(".onnx"), threads or min(cores(), MOST_THREADS))
    return _torch(card, path.with_suffix(".safetensors"), place)


def _onnx(path: Path, threads: int) -> Engine:
    import onnxruntime

    if not path.is_file():
        raise ModelError(f"{path}: the detector's weights are not there; reinstall vtrack or export them again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads would otherwise spin on cores that decoding and encoding need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What a run leaves free is given back: it is for a few runs a second, and else as much memory again would be kept.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path}: not a network that onnxruntime can run: {str(error).splitlines()[0]}") from error

    def run(pictures: ImageArray) -> FloatArray:
        cells: FloatArray = session.run(None, {"pictures": pictures})[0]
        return cells

    return Engine(run, ONE_PICTURE)


def _torch(card: Card, path: Path, device: str) -> Engine:
    import torch

    from vtrack.detectors.network import Exported, load_facenet
    from vtrack.models.engines.cuda_graphs import answering

    net = Exported(load_facenet(card, path)).to(device).eval()
    answers = answering(device, largest=_LARGEST)
    # CUDA takes seconds to load what a network's first run needs: better before the first frame.
    answers.prepare((1, *_USUAL, 3), None, net)
    return Engine(lambda pictures: answers(torch.from_numpy(pictures), None, net).numpy(), MANY)
