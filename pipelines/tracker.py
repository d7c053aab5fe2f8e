"""`Tracker`: models that are loaded once, for videos, photographs and loops of one's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vtrack.detectors.own import own_detector
from vtrack.errors import UsageError, spelled
from vtrack.models import card_path, pick_device
from vtrack.models.card import read_landmark_card
from vtrack.models.own import own_model
from vtrack.pipelines.live.camera import Camera, DeviceCamera
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.online import OnlineTracker
from vtrack.pipelines.pipeline import Pipeline, check_parts_known
from vtrack.pipelines.results import Results
from vtrack.pipelines.settings import InputSettings, LiveSettings, Selection, Settings
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.images.photographs import PhotographSet
from vtrack.pipelines.sources.images.sequence import check_image
from vtrack.pipelines.sources.open import Readable, check_applies, open_source
from vtrack.types import Detector, Frame, FrameResult, ImageArray, LandmarkModel, Query

Parts = str | Sequence[str] | Query
Model = str | LandmarkModel
Finder = str | Detector | Callable[[ImageArray], Any]
"""A detector's name, a detector, or a function from an image to boxes."""

_MICROSECONDS = Fraction(1, 1_000_000)


class Tracker:
    """Tracks faces through any number of videos and photographs with models that are loaded once.

    `track` follows the faces of a video, `image` finds those of one photograph, and `step` takes frame after frame from a
    loop of your own. A `with` statement ends the threads of `step`.

    Args:
        parts: Points to track: parts, groups and layouts as text (`"eyes,lips:40"`), a list of such texts, or a `Query`.
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
        smooth: `rts` (looks ahead, no lag; not for `step`), `kalman` or `one-euro` (at once), or `none`; by default `rts` for
            videos and `kalman` for cameras and `step`.
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

    Raises:
        UsageError: An argument is invalid or does not apply. `QueryError` for parts that do not exist.
        ModelError: The model does not exist or is damaged.

    Examples:
        >>> import vtrack
        >>> tracker = vtrack.Tracker(parts="eyes", max_faces=1)
        >>> for video in ("samples/sample.mp4", "samples/sample.mp4"):
        ...     print(tracker.track(video, stop=0.2).to_numpy().shape)
        (6, 1, 16, 2)
        (6, 1, 16, 2)
    """

    def __init__(
        self,
        parts: Parts = Settings.parts,
        *,
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
    ) -> None:
        self._settings = checked(
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
        self._smooth = smooth
        self._pipeline = Pipeline(self._settings)
        self._online: OnlineTracker | None = None
        self._steps, self._time = 0, float("-inf")

    @property
    def query(self) -> Query:
        """The points that are tracked."""
        return self._settings.query

    def track(
        self,
        source: Readable | int,
        *,
        start: float | None = InputSettings.start,
        stop: float | None = InputSettings.stop,
        every: int = InputSettings.every,
        fps: float | None = None,
        times: Iterable[float] | None = None,
        hwaccel: str = InputSettings.hwaccel,
        images: str = InputSettings.images,
        max_pixels: int = InputSettings.max_pixels,
    ) -> Results:
        """Track faces through a video; see `vtrack.track` for the arguments.

        Returns:
            The results: an iterator of `FrameResult`, with `to_pandas`, `to_numpy` and `to_xarray` for all of them. Ids of
            faces begin anew with each video.

        Examples:
            >>> import vtrack
            >>> tracker = vtrack.Tracker(parts="lips")
            >>> sum(len(result.faces) for result in tracker.track("samples/sample.mp4", start=1, stop=1.5))
            15
        """
        chosen = {
            **{"start": start, "stop": stop, "every": every, "fps": fps, "times": times},
            **{"hwaccel": hwaccel, "images": images, "max_pixels": max_pixels},
        }
        return results_of(self._settings, self._smooth, lambda: self._pipeline, source, chosen)

    def image(self, image: ImageArray | str | Path, *, max_pixels: int = InputSettings.max_pixels) -> FrameResult:
        """Find the faces of one photograph: no smoothing, no time.

        Args:
            image: (height, width, 3) `uint8` RGB, or the path of an image file.
            max_pixels: Largest number of pixels of a file; a larger one is refused before it is decoded.

        Returns:
            The photograph and its faces.

        Raises:
            UsageError: The array is not `uint8` RGB, or the tracker was told a `neutral` moment, which a photograph has not.
            SourceError: The file does not exist or is no image.

        Examples:
            >>> import vtrack
            >>> frame = next(vtrack.track("samples/sample.mp4")).frame
            >>> tracker = vtrack.Tracker(parts="eyes")
            >>> tracker.image(frame.image).faces[0]["left_eye"].shape
            (8, 2)
        """
        name = image if isinstance(image, str | Path) else "image"
        with PhotographSet(name, [image], Selection(), max_pixels) as source:
            check_applies({"neutral"} & set(self._settings.changed()), source)
            (result,) = self._pipeline.results(source)
        return result

    def step(self, image: ImageArray, time: float) -> FrameResult:
        """Track the next frame of a loop of your own, and return its result at once.

        Args:
            image: (height, width, 3) `uint8` RGB; of OpenCV's BGR give `image[..., ::-1]`.
            time: When it was taken, in seconds; finite, and later than the frame before by at least a microsecond.

        Returns:
            The frame and its faces, smoothed without looking ahead.

        Raises:
            UsageError: The image is not `uint8` RGB, time does not grow, or the tracker smooths by `rts`.

        Examples:
            >>> import vtrack
            >>> with vtrack.Tracker(parts="eyes") as tracker:
            ...     for frame in vtrack.open_source("samples/sample.mp4", stop=0.1):
            ...         print(tracker.step(frame.image, frame.time))
            FrameResult(index=0, time=0.000000, faces=1)
            FrameResult(index=1, time=0.033333, faces=1)
            FrameResult(index=2, time=0.066667, faces=1)
        """
        if self._online is None:
            self._online = OnlineTracker(self._pipeline, _online(self._settings, self._smooth))
        pixels = check_image(image, self._steps)
        try:
            pts = round(float(time) / _MICROSECONDS)
        except (TypeError, ValueError, OverflowError):
            raise UsageError(f"time is seconds, a finite number; got {time!r}") from None
        if pts <= self._time:
            raise UsageError(
                f"time must grow, by a microsecond at least; got {time:g} s after {self._time / 1e6:g} s. "
                "Call reset() before another video"
            )
        result = self._online.step(Frame(pixels, self._steps, pts, _MICROSECONDS))
        self._steps, self._time = self._steps + 1, pts
        return result

    def reset(self) -> None:
        """Begin another video with the next `step`: faces and time begin anew."""
        if self._online is not None:
            self._online.close()
        self._online, self._steps, self._time = None, 0, float("-inf")

    def close(self) -> None:
        """End the threads of `step`."""
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Tracker({len(self.query)} points, model {self._pipeline.model.name})"


def checked(parts: Parts, **chosen: Any) -> Settings:
    """Settings as Python programs choose them, whose model, detector and device exist; None stands for some defaults.

    Raises a `VTrackError` before anything is loaded.
    """
    chosen["smooth"] = chosen["smooth"] or Settings.smooth
    chosen["strengths"] = chosen["strengths"] or {}
    if not isinstance(chosen["detector"], str):
        chosen["detector"] = own_detector(chosen["detector"])
    settings = Settings(parts, **chosen)
    check_models(settings)
    check_parts_known(settings)
    return settings.check_used()


def check_models(settings: Settings, columns: Collection[str] = ()) -> None:
    """Raise a `VTrackError` unless the model and the device exist, and the model can tell these columns; nothing is loaded."""
    if isinstance(settings.model, str):
        path = card_path(settings.model)
        if "hidden" in columns and not (card := read_landmark_card(path)).tells_hidden:
            raise UsageError(
                f"the model {card.name} does not tell which points are hidden; use another model, or leave out "
                f"{spelled('columns', 'hidden')}"
            )
    else:
        own_model(settings.model)
    if settings.device not in ("auto", "cpu"):
        pick_device(settings.device)


def _online(settings: Settings, smooth: str | None) -> Settings:
    """The settings for frames that come one by one; smoothing that looks ahead is refused."""
    same = {each.name: getattr(settings, each.name) for each in fields(settings)}
    return LiveSettings(**{**same, "smooth": smooth or LiveSettings.smooth})


def results_of(
    settings: Settings,
    smooth: str | None,
    pipeline: Callable[[], Pipeline],
    source: Readable | int,
    chosen: Mapping[str, Any],
) -> Results:
    """Open a source; the pipeline is asked for when the first result is read."""
    if isinstance(source, int) and not isinstance(source, bool):
        given = [
            name for name, value in chosen.items() if value != getattr(InputSettings, name, None) and value is not None
        ]
        if given:
            raise UsageError(f"a camera's frames come as they are; leave out {', '.join(given)}")
        live = _online(settings, smooth)
        return Results(live, None, _captured(live, pipeline, DeviceCamera(str(source))))
    opened = open_checked(source, chosen)  # type: ignore[arg-type]  # a bool is refused there

    def results() -> Generator[FrameResult]:
        with opened:
            yield from pipeline().results(opened)

    return Results(settings, opened, results())


def open_checked(source: Readable, chosen: Mapping[str, Any]) -> Source:
    """Open a source; raises `UsageError` for a choice that does not apply to it."""
    given = {name: value for name, value in chosen.items() if value is not None}
    if "fps" in given and "times" in given:
        raise UsageError("fps and times both say when images are displayed; give one of them")
    opened = open_source(source, **given)
    if not isinstance(source, Source):
        try:
            changed = {name for name in ("images", "hwaccel") if given[name] != getattr(InputSettings, name)}
            check_applies(changed | ({"fps"} & given.keys()), opened)
        except UsageError:
            opened.close()
            raise
    return opened


def _captured(settings: Settings, pipeline: Callable[[], Pipeline], camera: DeviceCamera) -> Generator[FrameResult]:
    """The results of a camera that is open: of the newest frame each time."""
    opened = iter((camera,))

    def opener() -> Camera:
        return next(opened, None) or DeviceCamera(camera.device)

    with closing(OnlineTracker(pipeline(), settings)) as tracker, Capture(opener) as capture:
        for frame in capture:
            yield tracker.step(frame)
