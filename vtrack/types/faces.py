"""Tracked faces, and the frames that they are in."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtrack.measures import Expressions, EyeEvent, HeadPose, Measures, Points3d
from vtrack.parts import check_part_name, not_asked
from vtrack.types.arrays import FloatArray, check_shape
from vtrack.types.frames import Frame
from vtrack.types.predictions import Query


@dataclass(frozen=True, eq=False, slots=True)
class Face:
    """One tracked face in one frame.

    Examples:
        >>> import vtrack
        >>> result = next(vtrack.track("samples/sample.mp4", parts="eyes,lips:20"))
        >>> face = result.faces[0]
        >>> face["left_eye"].shape, face["eyes"].shape, face["lips"].shape
        ((8, 2), (16, 2), (20, 2))
    """

    id: int
    """Identity of the track, never reused within a run; in a photograph number of the face, the largest first."""
    box: FloatArray
    """(4,) x, y, w, h in pixels."""
    presence: float
    """Probability that this is a face, 0..1."""
    points: FloatArray
    """(points, 2) in pixels, smoothed if smoothing is on."""
    sigma: FloatArray
    """(points,) standard deviation of each coordinate, in pixels."""
    raw: FloatArray
    """(points, 2) as the model said, before smoothing."""
    query: Query
    """What the points are."""
    measured: bool = True
    """False where the face was not seen in this frame and its points are the smoother's prediction."""
    measures: Measures = field(default_factory=Measures.none)
    """Eye opening, blinks and the like by name, `face.measures["blink"]`; empty where they were not asked for."""
    unsmoothed: FloatArray | None = None
    """(points, 3) x, y and sigma as the model said, before smoothing: of the points asked for, of those of the measures if
    there are any, and of the anchors; None where nothing was seen."""
    hidden: FloatArray | None = None
    """(points,) probability that something in front of the face hides the point; None or NaN where the model does not tell."""
    pose: HeadPose | None = None
    """Where the head is in space and how it is turned; None where that was not asked for."""
    points3d: Points3d | None = None
    """Where the points are in space; None where that was not asked for."""
    expressions: Expressions | None = None
    """What the face does apart from its neutral, by ARKit's names; None where that was not asked for."""

    def __post_init__(self) -> None:
        count = len(self.query)
        check_shape("box", self.box, 4)
        check_shape("points", self.points, count, 2)
        check_shape("sigma", self.sigma, count)
        check_shape("raw", self.raw, count, 2)
        if self.hidden is not None:
            check_shape("hidden", self.hidden, count)

    def __getitem__(self, part: str) -> FloatArray:
        """(n, 2) points of a part, or of those parts of a group that were asked for, in the query's order."""
        check_part_name(part, "face")
        places = self.query.indices(part)
        if not places:
            raise not_asked(part, self.query.parts, measured=part in self.measures)
        return self.points[places]

    def __contains__(self, part: object) -> bool:
        """Whether there are points of a part or group."""
        return isinstance(part, str) and bool(self.query.indices(part))

    __iter__ = None  # not a sequence: Python would ask for face[0], face[1] and so on

    def __repr__(self) -> str:
        box = ", ".join(f"{side:.1f}" for side in self.box)
        return f"Face(id={self.id}, presence={self.presence:.3f}, box=({box}), points={len(self.query)})"


@dataclass(frozen=True, eq=False, slots=True)
class FrameResult:
    """One frame and the faces tracked in it.

    Examples:
        >>> import vtrack
        >>> next(vtrack.track("samples/sample.mp4", parts="eyes"))
        FrameResult(index=0, time=0.000000, faces=1)
    """

    frame: Frame
    faces: tuple[Face, ...]
    """By id; empty where there are none."""
    query: Query
    """What the points of the faces are."""
    events: tuple[EyeEvent, ...] = ()
    """Blinks, winks, squints and closures that ended with this frame; empty where faces are not measured."""

    @property
    def index(self) -> int:
        """Position among the source's decoded frames, from 0."""
        return self.frame.index

    @property
    def time(self) -> float:
        """Seconds from the source's own clock."""
        return self.frame.time

    def __repr__(self) -> str:
        return f"FrameResult(index={self.index}, time={self.time:.6f}, faces={len(self.faces)})"
