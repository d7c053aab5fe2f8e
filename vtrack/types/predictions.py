"""Which points are asked for, and what a landmark model says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from vtrack.parts import GROUPS
from vtrack.types.arrays import FloatArray, ImageArray, check_shape


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
    hidden: FloatArray | None = None
    """(crops, points) probability that something in front of the face hides the point; None if the model does not tell."""

    def __post_init__(self) -> None:
        check_shape("points", self.points, None, None, 2)
        check_shape("sigma", self.sigma, *self.points.shape[:2])
        check_shape("presence", self.presence, self.points.shape[0])
        if self.hidden is not None:
            check_shape("hidden", self.hidden, *self.points.shape[:2])

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
