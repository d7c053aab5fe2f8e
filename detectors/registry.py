"""Face detectors by name, what each of them takes, and `load_detector`. Adding one is one entry here and its own file."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError
from vtrack.options import nearest_of
from vtrack.types import Detector

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """A detector that is loaded by name."""

    import_path: str
    """`module:Class`, imported when it is asked for."""
    help: str
    takes: tuple[str, ...]
    """Which options of `load_detector` its class takes."""
    needs: str = ""
    """What `model_path` has to name, where there is no detector without it."""


AUTO = "native"
"""What `auto` stands for: it needs nothing that is not in the package."""

DETECTORS: dict[str, DetectorEntry] = {
    "native": DetectorEntry(
        "vtrack.detectors.native:NativeDetector",
        "vtrack's own",
        takes=("model_path", "size", "threshold", "small_faces", "device", "threads"),
    ),
    "mediapipe": DetectorEntry(
        "vtrack.detectors.mediapipe:MediapipeDetector",
        "BlazeFace (extra: mediapipe)",
        takes=("model_path", "threshold", "small_faces"),
    ),
    "yunet": DetectorEntry(
        "vtrack.detectors.yunet:YunetDetector",
        "OpenCV's YuNet, from its model file",
        takes=("model_path", "size", "threshold"),
        needs="its model file (face_detection_yunet_*.onnx)",
    ),
    "boxes": DetectorEntry(
        "vtrack.detectors.boxes:BoxesDetector",
        "known boxes, from a table",
        takes=("model_path", "threshold"),
        needs="its table: a CSV file with the columns frame,x,y,w,h",
    ),
}
NAMES = ("auto", *DETECTORS)

_SIZES = 64, 8192
"""Pixels of the longer side that a detector may search."""
_WISHES = {"model_path": "a model file", "size": "a size", "small_faces": "a search for small faces in tiles"}
"""What choosing an option asks for, in words."""


def check_detector(name: str, options: Mapping[str, Any], path: str) -> DetectorEntry:
    """What a detector's name stands for; raises `UsageError` for options that it does not take, before it is loaded.

    `path` is how the caller calls the option `model_path`.
    """
    if name not in NAMES:
        raise UsageError(f"there is no detector {name!r}; {nearest_of(name, NAMES)}")
    entry = DETECTORS[AUTO if name == "auto" else name]
    for option, value in options.items():
        if option in _WISHES and value and option not in entry.takes:
            able = [other for other, each in DETECTORS.items() if option in each.takes]
            raise UsageError(f"the detector {name!r} does not take {_WISHES[option]}; {' and '.join(able)} do")
    size, threshold = options.get("size"), options.get("threshold")
    if size is not None and not _SIZES[0] <= size <= _SIZES[1]:
        raise UsageError(f"the detector's size must be {_SIZES[0]} to {_SIZES[1]} pixels, got {size}")
    if threshold is not None and not 0.0 < threshold < 1.0:
        raise UsageError(f"the detector's threshold must lie between 0 and 1, got {threshold}")
    if entry.needs and options.get("model_path") is None:
        raise UsageError(f"the detector {name!r} needs {entry.needs}; give its path as {path}")
    return entry


def load_detector(
    name: str = "auto",
    *,
    model_path: str | Path | None = None,
    size: int | None = None,
    threshold: float | None = None,
    small_faces: bool = False,
    device: str | None = None,
    threads: int | None = None,
) -> Detector:
    """Load a face detector.

    Args:
        name: `auto`, which is `native`, or another of `DETECTORS`.
        model_path: The model file of `mediapipe` 1.x and `yunet`, the table of `boxes`, or for `native` the card of your
            own training.
        size: Longer side in pixels that frames are shrunk to before `native` and `yunet` search them.
        threshold: Score from which a face counts, 0 to 1; each detector has its own default.
        small_faces: Search full-sized tiles too, for faces that are too small at that size.
        device: What `native` runs on; a GPU where there is one by default.
        threads: The most that `native` takes on a CPU.

    Returns:
        A detector, ready to be asked: `load_detector().detect(frames)`.

    Raises:
        UsageError: For a name that there is not, or an option that this detector does not take.
        ModelError: Where its model file is absent or damaged.
        MissingExtraError: Where its package is not installed.

    Examples:
        >>> import vtrack
        >>> detector = vtrack.load_detector()
        >>> frame = next(vtrack.track("samples/sample.mp4")).frame
        >>> len(detector.detect([frame])[0])
        1
    """
    path = None if model_path is None else Path(model_path)
    options = {"model_path": path, "size": size, "threshold": threshold, "small_faces": small_faces}
    entry = check_detector(name, options, "model_path")
    given = {option: value for option, value in {**options, "device": device, "threads": threads}.items() if value}
    module, _, kind = entry.import_path.partition(":")
    made = getattr(importlib.import_module(module), kind)
    detector: Detector = made(**{option: value for option, value in given.items() if option in entry.takes})
    if name == "auto":
        log.info("detector: %s", detector.name)
    return detector
