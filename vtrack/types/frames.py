"""Frames and the faces that a detector finds in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np

from vtrack.imaging.planes import Blank, Pixels, Planes
from vtrack.types.arrays import FloatArray, ImageArray, check_shape


def in_seconds(pts: int, time_base: Fraction) -> float:
    """A timestamp in seconds: the float next to the fraction, which itself takes many times as long."""
    return pts * time_base.numerator / time_base.denominator


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
        check_shape("image", self.pixels, None, None, 3)
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
        check_shape("boxes", self.boxes, None, 4)
        check_shape("scores", self.scores, len(self.boxes))
        check_shape("angles", self.angles, len(self.boxes))

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
