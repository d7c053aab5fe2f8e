"""Face detectors, one file each, behind one protocol: `load_detector("auto").detect(frames)`."""

from __future__ import annotations

import logging
from pathlib import Path

from vtrack.errors import UsageError
from vtrack.types import Detector

log = logging.getLogger(__name__)

DETECTORS = ("auto", "native", "mediapipe", "yunet", "boxes")


def load_detector(
    name: str = "auto",
    *,
    device: str = "auto",
    model_path: str | Path | None = None,
    size: int | None = None,
    threshold: float | None = None,
    small_faces: bool = False,
    threads: int | None = None,
) -> Detector:
    """A detector by name; `auto` is the native one, which needs nothing that is not in the package.

    `model_path` is the model file of `mediapipe` 1.x and `yunet`, the table of `boxes`, or the card of your own training
    for `native`. `size` is the longer side that frames are shrunk to before `native` and `yunet` look; `small_faces`
    looks again, in full-sized tiles, for faces too small at that size. `threshold` is the score from which a face counts.
    `threads` are the most that `native` takes on a CPU.
    """
    if name not in DETECTORS:
        raise UsageError(f"there is no detector {name!r}; choose from {', '.join(DETECTORS)}")
    if threshold is not None and not 0.0 < threshold < 1.0:
        raise UsageError(f"the detector's threshold must lie between 0 and 1, got {threshold}")
    if size is not None and not 64 <= size <= 8192:
        raise UsageError(f"the detector's size must lie in 64..8192 pixels, got {size}")
    if size is not None and name in ("mediapipe", "boxes"):
        raise UsageError(f"the detector {name!r} has no size to choose")
    if small_faces and name in ("yunet", "boxes"):
        raise UsageError(f"the detector {name!r} cannot look for small faces in tiles; native and mediapipe can")
    path = Path(model_path) if model_path is not None else None

    detector: Detector
    if name in ("auto", "native"):
        from vtrack.detectors.native import DEFAULT_SIZE, NativeDetector

        detector = NativeDetector(
            card=path,
            device=device,
            size=size or DEFAULT_SIZE,
            threshold=threshold,
            small_faces=small_faces,
            threads=threads,
        )
    elif name == "mediapipe":
        from vtrack.detectors.mediapipe import MediapipeDetector

        detector = MediapipeDetector(model=path, threshold=threshold or 0.5, small_faces=small_faces)
    elif name == "yunet":
        from vtrack.detectors.yunet import YunetDetector

        detector = YunetDetector(model=path, size=size or 640, threshold=threshold or 0.6)
    else:
        from vtrack.detectors.boxes import BoxesDetector

        detector = BoxesDetector(path, threshold=threshold or 0.0)
    if name == "auto":
        log.info("detector: %s", detector.name)
    return detector
