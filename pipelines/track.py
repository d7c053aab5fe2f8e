"""`track`: from any source to results, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.results import Results
from vtrack.pipelines.settings import InputSettings, Settings
from vtrack.pipelines.sources.open import Readable
from vtrack.pipelines.tracker import Finder, Model, Parts, checked, results_of


def track(
    source: Readable | int,
    parts: Parts = Settings.parts,
    *,
    start: float | None = InputSettings.start,
    stop: float | None = InputSettings.stop,
    every: int = InputSettings.every,
    fps: float | None = None,
    times: Iterable[float] | None = None,
    hwaccel: str = InputSettings.hwaccel,
    images: str = InputSettings.images,
    max_pixels: int = InputSettings.max_pixels,
    model: Model = Settings.model,
    detector: Finder = Settings.detector,
    detector_model: str | Path | None = Settings.detector_model,
    detect_size: int | None = Settings.detect_size,
    small_faces: bool = Settings.small_faces,
    confidence: float | None = Settings.confidence,
    detect_every: float = Settings.detect_every,
    max_faces: int | None = Settings.max_faces,
    device: str = Settings.device,
    engine: str = Settings.engine,
    smooth: str | None = None,
    strength: float = Settings.strength,
    strengths: Mapping[str, float] | None = None,
    measures: bool = Settings.measures,
    pose: bool = Settings.pose,
    points3d: bool = Settings.points3d,
    fov: float | None = Settings.fov,
    pose_unit: str = Settings.pose_unit,
    eye_distance: float | None = Settings.eye_distance,
    expressions: bool = Settings.expressions,
    neutral: float | None = Settings.neutral,
) -> Results:
    """Track faces through a video, frame by frame as the results are read.

    Arguments are checked and the source is opened at once; models are loaded when the first result is read. For several
    videos or photographs use `Tracker`, which loads them once.

    Args:
        source: What to read: a video file, image, folder or glob pattern of images, or network address; the number of a
            camera; a (height, width, 3) `uint8` RGB array or a (frames, height, width, 3) stack; a list or generator of image
            files or such arrays; or a `Source` of your own. Several images are photographs, in each of which faces are
            found anew, unless they are numbered and of one size.
        parts: Points to track: parts, groups and layouts as text (`"eyes,lips:40"`), a list of such texts, or a `Query`.
        start: First time to read, in seconds on the source's own clock.
        stop: End in seconds, excluded.
        every: Read every n-th frame.
        fps: Frames per second of numbered images, 25 by default; a video has its own times.
        times: Seconds at which the images of an array, list or generator are displayed, instead of `fps`; finite and
            growing.
        hwaccel: Hardware video decoder: `cuda`, `qsv`, `videotoolbox`, ...
        images: What the images of a folder, pattern or list are: `photographs`, each by itself, a film's `sequence`, or
            `auto`: a sequence if they are numbered and of one size.
        max_pixels: Largest number of pixels of an image file or video frame; larger ones are refused.
        model: Landmark model: `fast`, `accurate`, the path of your own model's card (`.json`), or a `LandmarkModel`.
        detector: Face detector by name, a `Detector`, or a function from an image, (height, width, 3) `uint8` RGB, to
            boxes (faces, 4) x, y, width, height; a fifth number is the score, 0 to 1.
        detector_model: File that the detector is read from.
        detect_size: Longer side in pixels of the picture that is searched for faces.
        small_faces: Search larger pictures, for small and far faces.
        confidence: Leave out faces whose detector score or presence is below this, 0.01 to 0.99; by default the detector has
            its own score, and a face is followed while its presence is at least 0.3.
        detect_every: Seconds between detections, 0 (every frame) to 1.
        max_faces: Keep at most this many faces, the largest.
        device: What the models run on: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        engine: What runs the landmark model: `auto`, `torch`, `onnx`, `int8`, `bf16`.
        smooth: `rts` (looks ahead, no lag), `kalman` or `one-euro` (at once), or `none`; by default `rts`, and `kalman` for a
            camera.
        strength: Strength of smoothing, 0 (hardly any) to 1 (very much).
        strengths: Strength for single parts, groups or the `head`: `{"lips": 0.2}`.
        measures: Whether to measure eye opening, blinks, mouth, brows, smile and head turn: `Face.measures`.
        pose: Whether to find place and turn of each head in space: `Face.pose`.
        points3d: Whether to find where each point is in space: `Face.points3d`.
        fov: Angle of view of the camera along the longer side of the frame in degrees, 5 to 150; by default most cameras' is
            assumed.
        pose_unit: Unit of places in space: `eyes`, distances between the outer corners of the eyes, or `mm`.
        eye_distance: Distance between the outer corners of the eyes in mm, 50 to 130; by default that of adults, for `mm`.
        expressions: Whether to find blend shapes and proxies of action units, relative to the neutral face: `Face.expressions`.
        neutral: Time in seconds at which faces are neutral; by default that is found out.

    Returns:
        The results: an iterator of `FrameResult`, with `to_pandas`, `to_numpy` and `to_xarray` for all of them.

    Raises:
        UsageError: An argument is invalid or does not apply. `QueryError` for parts that do not exist.
        SourceError: The source does not exist or cannot be read.
        ModelError: The model does not exist.

    Examples:
        >>> import vtrack
        >>> for result in vtrack.track("samples/sample.mp4", parts="eyes,lips", stop=0.1):
        ...     for face in result.faces:
        ...         print(f"{result.time:.3f} s: face {face.id}, {len(face['eyes'])} points on the eyes")
        0.000 s: face 0, 16 points on the eyes
        0.033 s: face 0, 16 points on the eyes
        0.067 s: face 0, 16 points on the eyes
        >>> import numpy as np
        >>> stack = np.zeros((3, 240, 320, 3), np.uint8)
        >>> [result.time for result in vtrack.track(stack, times=[0, 0.04, 0.1])]
        [0.0, 0.04, 0.1]
    """
    settings = checked(
        parts,
        model=model,
        detector=detector,
        detector_model=detector_model,
        detect_size=detect_size,
        small_faces=small_faces,
        confidence=confidence,
        detect_every=detect_every,
        max_faces=max_faces,
        device=device,
        engine=engine,
        smooth=smooth,
        strength=strength,
        strengths=strengths,
        measures=measures,
        pose=pose,
        points3d=points3d,
        fov=fov,
        pose_unit=pose_unit,
        eye_distance=eye_distance,
        expressions=expressions,
        neutral=neutral,
    )
    chosen = {
        **{"start": start, "stop": stop, "every": every, "fps": fps, "times": times},
        **{"hwaccel": hwaccel, "images": images, "max_pixels": max_pixels},
    }
    return results_of(settings, smooth, lambda: Pipeline(settings), source, chosen)
