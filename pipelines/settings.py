"""What to track and how, what to read and what to write: every setting of a run with its default, in one place.

The command line, configuration files, batches and Python share these. They are light to import, and an invalid value raises
`UsageError` when the object is made, before any model is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, Self

from vtrack.anchors import ANCHORS
from vtrack.detectors.registry import NAMES as DETECTOR_NAMES
from vtrack.detectors.registry import check_detector
from vtrack.errors import UsageError, spelled
from vtrack.models.card import DEFAULT_MODEL
from vtrack.models.engines.registry import NAMES as ENGINES
from vtrack.options import Checked, nearest_of, option, seconds, spelled_field, words
from vtrack.parts import GROUPS, PARTS, nearest
from vtrack.pipelines.measures.points import added_queries
from vtrack.pipelines.registry import (
    CODECS,
    COLUMN_GROUPS,
    CSV_FORMATS,
    DRAWINGS,
    DRAWN_GROUPS,
    HEAD,
    IMAGE_KINDS,
    MEASURED_GROUPS,
    METHODS,
    ONLINE,
    OUTPUTS,
    PRESETS,
    WORST_CRF,
)
from vtrack.query import parse_query, query_text
from vtrack.types import Detector, LandmarkModel, Query

DETECTOR_OPTIONS = {"detector_model": "model_path", "detect_size": "size", "small_faces": "small_faces"}
"""Settings that are the detector's, and their names in `load_detector`."""
SMOOTHING = ("smooth", "strength", "strengths")
"""Settings of smoothing."""
SPACE = ("fov", "pose_unit", "eye_distance")
"""Settings of heads in space."""
EXPRESSION = ("neutral",)
"""Settings of expressions."""


@dataclass(frozen=True)
class Smoothing:
    """What kind of smoothing, and how much: the checked form of `--smooth MODE --smooth.strength X --smooth.eyes Y`."""

    mode: str
    strength: float
    """0 hardly any, 1 very much."""
    per_part: Mapping[str, float]
    """Strength of single parts, groups of parts, or the motion of the `head`; a part's own goes before its group's."""

    def __post_init__(self) -> None:
        if self.mode not in METHODS:
            raise UsageError(f"there is no smoothing called {self.mode!r}; {nearest_of(self.mode, METHODS)}")
        for name, strength in (("strength", self.strength), *self.per_part.items()):
            if isinstance(strength, bool) or not isinstance(strength, Real) or not 0.0 <= float(strength) <= 1.0:
                raise UsageError(f"smoothing: {name} must lie in 0 (hardly any) to 1 (very much), got {strength}")
        for name in self.per_part:
            if name not in (HEAD, *GROUPS, *PARTS):
                raise UsageError(f"smoothing: no part is called {name!r}; {nearest(name, (HEAD, *GROUPS, *PARTS))}")

    def of(self, part: str) -> float:
        """Strength for one part, or for the `head`."""
        if part in self.per_part:
            return self.per_part[part]
        groups = [name for name in self.per_part if part in GROUPS.get(name, ())]
        return self.per_part[min(groups, key=lambda name: len(GROUPS[name]))] if groups else self.strength


@dataclass(frozen=True, repr=False)
class Settings(Checked):
    """What to track and how.

    Example:
        >>> Settings("eyes,lips", smooth="kalman", max_faces=1).query.parts[0]
        'left_eye'
    """

    parts: Sequence[str] | Query = option(
        "face", "what to track: `eyes,lips:40`", kind=str, metavar="QUERY", objects=True
    )
    """Parts, groups and layouts as text, a list of them, or a `Query`."""
    _: KW_ONLY
    model: str | LandmarkModel = option(
        DEFAULT_MODEL, "landmark model, see `vtrack models`", objects=True, group="faces"
    )
    """Name of a shipped model, path of your own model's card (.json), or a model of your own."""
    detector: str | Detector = option("auto", "what finds faces", choices=DETECTOR_NAMES, objects=True, group="faces")
    """Name of a detector, or a detector of your own."""
    detector_model: Path | None = option(
        None, "file that the detector is read from", kind=Path, metavar="PATH", group="faces"
    )
    detect_size: int | None = option(
        None, "longer side of the picture that is searched", kind=int, unit="pixels", metavar="PIXELS", group="faces"
    )
    small_faces: bool = option(False, "search larger pictures, for small and far faces", group="faces")
    confidence: float | None = option(
        None, "leave out faces of which detector or model are less sure than this", kind=float, low=0.01, high=0.99,
        metavar="X", group="faces",
    )  # fmt: skip
    """Least score of a detection and least presence of a face in each frame; None for those of the detector and of tracking."""
    # On four sample clips with known points (moving, crossing, leaving and talking faces; 120 frames each) 0.5 s detects on
    # 9 % of the frames instead of 13 %, misses no face either, and makes errors 1 % and jitter 8 % larger. Beyond 1 s too
    # much is missed: tracks live no longer without a sighting.
    detect_every: float = option(
        0.3, "time between detections", unit="seconds", low=0, high=1, metavar="SECONDS", group="faces"
    )
    max_faces: int | None = option(
        None, "keep at most the N largest faces", kind=int, low=1, metavar="N", group="faces"
    )
    device: str = option("auto", "what the models run on: auto, cpu, cuda, cuda:1, mps", group="faces")
    engine: str = option("auto", "what runs the landmark model", choices=ENGINES, group="faces")
    smooth: str = option("rts", "kind of smoothing", noun="smoothing", choices=tuple(METHODS), group="smoothing")
    strength: float = option(
        0.5, "how much, from hardly any to very much", low=0, high=1, flag="--smooth.strength", metavar="X",
        group="smoothing",
    )  # fmt: skip
    strengths: Mapping[str, float] = option(
        {}, "strength of one part, one group or the head: --smooth.lips 0.2", low=0, high=1,
        choices=(HEAD, *GROUPS, *PARTS), flag="--smooth.PART", metavar="X", group="smoothing",
    )  # fmt: skip
    """A part's own goes before its group's."""
    measures: bool = option(False, "measure eye opening, blinks, mouth, brows, smile and head turn", group="faces")
    """Whether faces get `Face.measures`."""
    pose: bool = option(False, "place and turn of each head in space, with standard deviations", group="faces")
    """Whether faces get `Face.pose`."""
    points3d: bool = option(False, "place of each point in space, with standard deviations", group="faces")
    """Whether faces get `Face.points3d`."""
    fov: float | None = option(
        None, "angle of view of the camera along the longer side of the frame, for measures, pose, points3d and "
        "expressions", kind=float, unit="degrees", low=5, high=150, metavar="DEGREES", group="faces",
    )  # fmt: skip
    pose_unit: str = option(
        "eyes", "unit of places in space; eyes is the distance between the outer corners of the person's eyes",
        choices=("eyes", "mm"), noun="unit of the pose", group="faces",
    )  # fmt: skip
    eye_distance: float | None = option(
        None, "distance between the outer corners of the eyes, as measured, for places in mm", kind=float, unit="mm",
        low=50, high=130, metavar="MM", group="faces",
    )  # fmt: skip
    expressions: bool = option(
        False, "blend shapes and proxies of action units, relative to the person's neutral face", group="faces"
    )
    """Whether faces get `Face.expressions`."""
    neutral: float | None = option(
        None, "time at which faces are neutral, in seconds or [h:]mm:ss, for expressions", kind=float, parse=seconds, low=0,
        metavar="TIME", group="faces",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if isinstance(self.parts, list | tuple) and all(isinstance(part, str) for part in self.parts):
            object.__setattr__(self, "parts", ",".join(self.parts))
        super().__post_init__()
        _ = self.query
        if isinstance(self.detector, str):
            check_detector(self.detector, self.detector_options, spelled("detector_model"))
        _ = self.smoothing

    @cached_property
    def query(self) -> Query:
        """The user's points."""
        return parse_query(self.parts) if isinstance(self.parts, str) else _as_query(self.parts)

    @property
    def landmark_query(self) -> Query:
        """The points to locate: the user's, and those of what is measured."""
        return sum(added_queries(self.measured_groups), self.query)

    @property
    def measured_groups(self) -> tuple[str, ...]:
        """Groups of columns of what is measured of faces."""
        return tuple(name for name in MEASURED_GROUPS if getattr(self, name))

    @property
    def model_query(self) -> Query:
        """The points that the model predicts: those to locate, and the anchors."""
        return self.landmark_query + ANCHORS

    @property
    def smoothing(self) -> Smoothing:
        """Kind and strengths of smoothing."""
        return Smoothing(self.smooth, self.strength, self.strengths)

    @property
    def detector_options(self) -> dict[str, Any]:
        """What `load_detector` gets beside the name."""
        options = {option: getattr(self, name) for name, option in DETECTOR_OPTIONS.items() if getattr(self, name)}
        return options if self.confidence is None else {**options, "threshold": self.confidence}

    def check_used(self, given: Collection[str] = ()) -> Self:
        """Raise `UsageError` if a setting that is `given`, or differs from its default, changes nothing here."""
        chosen = {*given, *self.changed()}
        tuned = [spelled("strength", flag="--smooth.strength")] * ("strength" in chosen)
        tuned += [spelled(f"strengths.{name}", flag=f"--smooth.{name}") for name in self.strengths]
        if tuned and self.smooth == "none":
            raise UsageError(f"{tuned[0]} has no effect with {spelled('smooth', 'none')}; leave it out")
        for name in self.strengths:
            if name != HEAD and not set(GROUPS.get(name, (name,))) & set(self.landmark_query.parts):
                where = spelled(f"strengths.{name}", flag=f"--smooth.{name}")
                raise UsageError(f"{where} has no effect: no {name} are tracked; add them to {spelled('parts')}")
        if "fov" in chosen and not self.measured_groups:
            add = words([spelled(name, True) for name in MEASURED_GROUPS])
            raise UsageError(f"{spelled('fov')} has no effect; add {add}")
        if "neutral" in chosen and not self.expressions:
            raise UsageError(f"{spelled('neutral')} has no effect; add {spelled('expressions', True)}")
        for name in {"pose_unit", "eye_distance"} & chosen:
            if not (self.pose or self.points3d):
                raise UsageError(
                    f"{spelled(name)} has no effect; add {spelled('pose', True)} or {spelled('points3d', True)}"
                )
        if "eye_distance" in chosen and self.pose_unit != "mm":
            raise UsageError(f"{spelled('eye_distance')} has no effect; add {spelled('pose_unit', 'mm')}")
        if not isinstance(self.detector, str) and (foreign := chosen & set(DETECTOR_OPTIONS)):
            raise UsageError(f"{min(foreign)} applies to detectors loaded by name, not to one of your own")
        return self

    def showing(self, query: Query, **changes: Any) -> Self:
        """The same for other points."""
        return replace(self, parts=query, **changes)


@dataclass(frozen=True, repr=False)
class LiveSettings(Settings):
    """What to track in a live picture, and how: without looking ahead, measures included."""

    _: KW_ONLY
    smooth: str = option("kalman", "kind of smoothing", noun="live smoothing", choices=ONLINE, group="smoothing")
    measures: bool = option(True, "measure eye opening, blinks, mouth, brows, smile and head turn", group="faces")


@dataclass(frozen=True, kw_only=True, repr=False)
class Selection(Checked):
    """Which frames are wanted: start <= time < stop on the source's own clock, every n-th of those."""

    start: float | None = option(
        None, "first moment, in seconds or [h:]mm:ss", kind=float, parse=seconds, metavar="TIME", group="input"
    )
    stop: float | None = option(None, "moment to stop before", kind=float, parse=seconds, metavar="TIME", group="input")
    every: int = option(1, "take each N-th frame", low=1, metavar="N", group="input")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start is not None and self.stop is not None and self.stop <= self.start:
            raise UsageError(
                f"{spelled('stop')} ({self.stop:g} s) must come after {spelled('start')} ({self.start:g} s)"
            )


@dataclass(frozen=True, kw_only=True, repr=False)
class InputSettings(Selection):
    """Which frames are read, and how."""

    images: str = option(
        "auto", "what a folder of images is", choices=tuple(IMAGE_KINDS), noun="kind of images", group="input"
    )
    fps: float = option(
        25.0, "rate of numbered images, which have no clock", unit="Hz", low=1e-3, metavar="RATE", group="input"
    )
    hwaccel: str = option("none", "decode on cuda (NVDEC), qsv, videotoolbox ...", metavar="NAME", group="input")
    # The largest sensors of cameras have 200 million pixels; one such image takes 600 MB, and some copies of it are made.
    max_pixels: int = option(
        200_000_000, "refuse images and video frames with more pixels", low=1, metavar="N", group="input"
    )

    @property
    def selection(self) -> Selection:
        """Which frames are read."""
        return Selection(start=self.start, stop=self.stop, every=self.every)


@dataclass(frozen=True, kw_only=True, repr=False)
class ViewSettings(Checked):
    """How a picture with its faces looks."""

    draw: Sequence[str] = option(
        ("points", "curves"),
        "what video and pictures show",
        choices=tuple(DRAWINGS),
        noun="kind of drawing",
        none=True,
        metavar="NAMES",
        group="outputs",
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class OutputSettings(ViewSettings):
    """What is written, and how it looks."""

    outputs: Sequence[str] = option(
        ("csv",), "what is written", choices=tuple(OUTPUTS), noun="output", flag=None, group="outputs"
    )
    format: str = option(
        "wide",
        "form of the CSV table",
        choices=tuple(CSV_FORMATS),
        noun="table format",
        metavar="NAME",
        group="outputs",
    )
    columns: Sequence[str] = option(
        (),
        "extra columns",
        choices=tuple(COLUMN_GROUPS),
        noun="column group",
        none=True,
        metavar="NAMES",
        group="outputs",
    )
    codec: str = option("h264", "how the video is compressed", choices=tuple(CODECS), group="outputs")
    crf: int | None = option(
        None, "quality of the video, from best to smallest", kind=int, low=0, high=WORST_CRF, group="outputs"
    )
    preset: str = option("veryfast", "effort of the video encoder", choices=PRESETS, group="outputs")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns and "columns" not in CSV_FORMATS[self.format].takes:
            able = words([name for name, entry in CSV_FORMATS.items() if "columns" in entry.takes])
            raise UsageError(f"a table of format {self.format} has no room for extra columns; use {able}")

    def check_used(self, given: Collection[str] = ()) -> Self:
        """Raise `UsageError` if a setting that is `given`, or differs from its default, is for an output not asked for."""
        chosen = {*given, *self.changed()}
        used = {name for output in self.outputs for name in OUTPUTS[output].takes}
        for each in fields(self):
            if each.name in chosen - used - {"outputs"}:
                takers = [name for name, entry in OUTPUTS.items() if each.name in entry.takes]
                what = OUTPUTS[takers[0]].help.removeprefix("a ").removeprefix("an ")
                add = " or ".join(spelled(name, True) for name in takers)
                raise UsageError(f"{spelled_field(each)} applies to the {what} only; add {add}")
        return self

    def with_table(self) -> Self:
        """The same with a CSV table, unless there is a table already."""
        has_table = any(OUTPUTS[name].table for name in self.outputs)
        return self if has_table else replace(self, outputs=(*OutputSettings.outputs, *self.outputs))


@dataclass(frozen=True, kw_only=True, repr=False)
class CropSettings(Checked):
    """How faces are cut out of a video by a table."""

    align: str = option("eyes", "what is brought to one place", choices=("eyes", "face"), group="crops")
    size: int = option(256, "side of the crops", unit="px", low=16, high=4096, metavar="N", group="crops")
    margin: float = option(
        1.5, "side of the crops over the longer side of the face, brows to chin", low=0.1, high=20, group="crops"
    )
    constant_scale: bool = option(
        False, "one scale for all of a track, so that a turn of the head does not enlarge it", group="crops"
    )
    video: bool = option(False, "a video for each face, with the sound, instead of pictures", group="crops")
    picture_format: str = option("png", "format of the pictures", choices=("png", "jpg"), group="crops")


def drawable(settings: Settings, look: ViewSettings) -> Settings:
    """The same settings with all that a drawing needs, which tables have only if it is asked for: axes need poses."""
    needs: dict[str, Any] = {group: True for kind, group in DRAWN_GROUPS.items() if kind in look.draw}
    return replace(settings, **needs)


def plain(*settings: Checked) -> dict[str, Any]:
    """Settings as JSON and TOML have them, by name: what a configuration file needs to give them back."""
    values = {each.name: getattr(one, each.name) for one in settings for each in fields(one)}  # type: ignore[arg-type]
    if "columns" in values:
        # Faces may be measured for events alone. As a choice of the user's this would add columns to the table.
        values |= {name: name in values["columns"] for name in MEASURED_GROUPS}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Query):
        return query_text(value)
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, tuple):
        return list(value)
    if value is None or isinstance(value, str | int | float | dict):
        return value
    # A model or detector of one's own, which no file can give back.
    return getattr(value, "name", getattr(value, "__name__", type(value).__name__))


def _as_query(parts: Any) -> Query:
    if isinstance(parts, Query):
        return parts
    raise UsageError(f"parts must be text, a list of names or a Query, got {parts!r}")
