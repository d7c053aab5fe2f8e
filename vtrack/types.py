"""What crosses the borders between the parts of vtrack: frames, detections, queries, predictions, faces, results.

Images are `uint8` RGB of shape (H, W, 3). Coordinates are pixels of the displayed frame, x right, y down, the centre
of the top-left pixel at (0, 0). Boxes are `x, y, w, h`. Time is in seconds and comes from the decoder's timestamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vtrack.imaging.planes import Blank, Pixels, Planes
from vtrack.measures import Expressions, EyeEvent, HeadPose, Measures, Points3d
from vtrack.parts import GROUPS, check_part_name, not_asked

Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
ImageArray = npt.NDArray[np.uint8]


def in_seconds(pts: int, time_base: Fraction) -> float:
    """A timestamp in seconds: the float next to the fraction, which itself takes many times as long."""
    return pts * time_base.numerator / time_base.denominator


def _check_shape(name: str, array: Array, *shape: int | None) -> None:
    """Raise unless `array` has the given shape; None stands for any length."""
    if array.shape == shape:
        return
    fits = len(array.shape) == len(shape)
    for want, have in zip(shape, array.shape, strict=False):
        fits = fits and (want is None or want == have)
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One decoded picture and the moment it is shown.

    Examples:
        >>> from fractions import Fraction
        >>> import numpy as np
        >>> import vtrack
        >>> vtrack.Frame(np.zeros((240, 320, 3), np.uint8), index=3, pts=3, time_base=Fraction(1, 25))
        Frame(index=3, time=0.120000, size=320x240)
    """

    pixels: Pixels
    """Upright as displayed: (H, W, 3) RGB, or planes of it, out of which crops are cut faster."""
    index: int
    """Position among the source's decoded frames, from 0; skipped frames count."""
    pts: int
    """Presentation timestamp in units of `time_base`."""
    time_base: Fraction
    cut: bool = False
    """Whether a new scene begins with it; `vtrack.pipelines.sources.scene_cuts.mark_cuts` finds out."""
    file: str = ""
    """Name of the image file that it was read from, as it stands in tables; empty for video and images in memory."""

    def __post_init__(self) -> None:
        if isinstance(self.pixels, Planes):
            return
        _check_shape("image", self.pixels, None, None, 3)
        if self.pixels.dtype != np.uint8:
            raise ValueError(f"image must be uint8, got {self.pixels.dtype}")

    @property
    def image(self) -> ImageArray:
        """(H, W, 3) RGB, upright as displayed. Of planes it is made anew each time: keep it."""
        return self.pixels.whole() if isinstance(self.pixels, Planes) else self.pixels

    @property
    def time(self) -> float:
        """Seconds from the source's own clock."""
        return in_seconds(self.pts, self.time_base)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def without_pixels(self) -> Frame:
        """The same moment with a black picture of the same size that takes no memory, to be kept while it is waited for."""
        return replace(self, pixels=Blank(self.pixels.shape))

    def __repr__(self) -> str:
        width, height = self.size
        return f"Frame(index={self.index}, time={self.time:.6f}, size={width}x{height})"


@dataclass(frozen=True, eq=False, slots=True)
class Detections:
    """The faces a detector found in one frame, best first.

    A box is the tight box around the face's landmarks, from brows to chin and jaw to jaw (the 68 points of 300W). Every
    detector converts its own boxes to this convention, so that crops do not depend on the detector.

    Examples:
        >>> import numpy as np
        >>> import vtrack
        >>> vtrack.Detections(np.array([[40, 30, 90, 110]]), scores=np.array([0.9]), angles=np.zeros(1))
        Detections(1 face, scores=[0.9])
    """

    boxes: FloatArray
    """(faces, 4) x, y, w, h in pixels; may leave the frame."""
    scores: FloatArray
    """(faces,) 0..1."""
    angles: FloatArray
    """(faces,) roll in radians: the turn, clockwise on screen, from upright to how the head is held; 0 where unknown."""

    def __post_init__(self) -> None:
        _check_shape("boxes", self.boxes, None, 4)
        _check_shape("scores", self.scores, len(self.boxes))
        _check_shape("angles", self.angles, len(self.boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        scores = [round(float(score), 3) for score in self.scores]
        return f"Detections({len(self)} face{'s' * (len(self) != 1)}, scores={scores})"

    @classmethod
    def none(cls) -> Detections:
        """No faces."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))


@runtime_checkable
class Detector(Protocol):
    """Finds faces in frames. The base class of detectors of your own, for which a plain function will often do.

    Examples:
        >>> import numpy as np
        >>> import vtrack
        >>> class Middle(vtrack.Detector):
        ...     name = "middle"
        ...     def detect(self, frames):
        ...         boxes = [np.array([[237.0, 173.0, 182.0, 182.0]]) for frame in frames]
        ...         return [vtrack.Detections(box, scores=np.ones(1), angles=np.zeros(1)) for box in boxes]
        >>> results = list(vtrack.track("samples/sample.mp4", stop=0.2, detector=Middle()))
        >>> [len(result.faces) for result in results]
        [1, 1, 1, 1, 1, 1]
        >>> results = list(vtrack.track("samples/sample.mp4", stop=0.2, detector=lambda image: [(237, 173, 182, 182)]))
        >>> [len(result.faces) for result in results]
        [1, 1, 1, 1, 1, 1]
    """

    name: str = "own"
    """Short name, for messages and the facts beside a table."""
    min_score: float = 0.5
    """Score from which a face is believed that nobody knew of before; a face already followed may score less."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the faces of some frames.

        Args:
            frames: The frames; `frame.image` is (height, width, 3) `uint8` RGB.

        Returns:
            One `Detections` for each frame, in order.
        """
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """Which points are asked for: a list of (part, position along it). `parse_query` makes it of text.

    Examples:
        >>> import vtrack
        >>> corners = vtrack.Query(parts=("left_eye", "left_eye"), positions=(0.0, 0.5))
        >>> corners.names
        ('left_eye_0', 'left_eye_1')
        >>> corners + vtrack.parse_query("jaw:5")
        Query(7 points: left_eye:2, jaw:5)
    """

    parts: tuple[str, ...]
    """Name of the part of each point."""
    positions: tuple[float, ...]
    """Where on its part each point lies: 0 start, 1 end."""
    names: tuple[str, ...] = field(default=())
    """Column name of each point, `<part>_<i>`; made when not given."""

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.positions):
            raise ValueError(f"{len(self.parts)} parts do not match {len(self.positions)} positions")
        if any(not 0.0 <= position <= 1.0 for position in self.positions):
            raise ValueError(f"positions must lie in 0..1, got {self.positions}")
        if not self.names:
            seen: dict[str, int] = {}
            names = []
            for part in self.parts:
                names.append(f"{part}_{seen.get(part, 0)}")
                seen[part] = seen.get(part, 0) + 1
            object.__setattr__(self, "names", tuple(names))
        elif len(self.names) != len(self.parts):
            raise ValueError(f"{len(self.names)} names do not match {len(self.parts)} points")

    def __len__(self) -> int:
        return len(self.parts)

    def indices(self, part: str) -> list[int]:
        """Places of the points of one part, or of a group's parts, within this query."""
        wanted = GROUPS.get(part, (part, f'"{part}"'))
        return [i for i, name in enumerate(self.parts) if name in wanted]

    def __repr__(self) -> str:
        counts = {part: self.parts.count(part) for part in dict.fromkeys(self.parts)}
        shown = ", ".join(f"{part}:{count}" for part, count in list(counts.items())[:6])
        more = f" and {len(counts) - 6} more parts" if len(counts) > 6 else ""
        return f"Query({len(self)} points: {shown}{more})" if counts else "Query(0 points)"

    def __add__(self, other: Query) -> Query:
        """This query's points, then the other's; names are kept where given and must stay apart."""
        return Query(self.parts + other.parts, self.positions + other.positions, self.names + other.names)


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """What a landmark model says of a batch of crops. Crop coordinates are 0..1 over the crop and may lie outside.

    Examples:
        >>> import numpy as np
        >>> import vtrack
        >>> vtrack.Prediction(np.full((4, 10, 2), 0.5), sigma=np.full((4, 10), 0.1), presence=np.ones(4))
        Prediction(4 crops, 10 points)
    """

    points: FloatArray
    """(crops, points, 2) x, y in crop units."""
    sigma: FloatArray
    """(crops, points) standard deviation of each coordinate, in crop units."""
    presence: FloatArray
    """(crops,) probability that the crop shows a face."""

    def __post_init__(self) -> None:
        _check_shape("points", self.points, None, None, 2)
        _check_shape("sigma", self.sigma, *self.points.shape[:2])
        _check_shape("presence", self.presence, self.points.shape[0])

    def __repr__(self) -> str:
        return f"Prediction({self.points.shape[0]} crops, {self.points.shape[1]} points)"


@runtime_checkable
class LandmarkModel(Protocol):
    """Locates points on square face crops. The base class of landmark models of your own.

    A model is asked for the user's points and for the anchors of `vtrack.anchors`, by which faces are followed, each by its
    part and position. It may also have a `card` and the name of its `engine`; a `device` ("cpu", "cuda"); `concurrency`, how
    many threads may ask it at once; `batch_multiple`, a number of crops that it computes together, of which batches are best
    multiples; and `prepare(query)`, called before the first crops come.

    Examples:
        >>> import vtrack
        >>> class Careful(vtrack.LandmarkModel):
        ...     name = "careful"
        ...     def __init__(self):
        ...         self.inner = vtrack.load_model()
        ...         self.input_size, self.margin = self.inner.input_size, self.inner.margin
        ...     def predict(self, crops, query):
        ...         inner = self.inner.predict(crops, query)
        ...         return vtrack.Prediction(inner.points, 2 * inner.sigma, inner.presence)
        >>> next(vtrack.track("samples/sample.mp4", model=Careful()))
        FrameResult(index=0, time=0.000000, faces=1)
    """

    name: str = "own"
    """Short name, for messages and the facts beside a table."""
    input_size: int
    """Side of the crops in pixels."""
    margin: float
    """Side of the crop over the longer side of the face box."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Locate the points of a query on each crop.

        Args:
            crops: (crops, 3, input_size, input_size) `uint8` RGB; a torch tensor on the model's `device` where it has one
                other than "cpu".
            query: The points that are wanted.

        Returns:
            Points, their standard deviations and the presence of a face, all in crop units.
        """
        ...


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
    pose: HeadPose | None = None
    """Where the head is in space and how it is turned; None where that was not asked for."""
    points3d: Points3d | None = None
    """Where the points are in space; None where that was not asked for."""
    expressions: Expressions | None = None
    """What the face does apart from its neutral, by ARKit's names; None where that was not asked for."""

    def __post_init__(self) -> None:
        count = len(self.query)
        _check_shape("box", self.box, 4)
        _check_shape("points", self.points, count, 2)
        _check_shape("sigma", self.sigma, count)
        _check_shape("raw", self.raw, count, 2)

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
