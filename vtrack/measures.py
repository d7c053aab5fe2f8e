"""What a face does in numbers: measures by name, what its eyes do, and where its head and its points are;
`vtrack.pipelines.measures` computes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.errors import NameNotAskedError, spelled
from vtrack.parts import nearest

SHUT = 0.3
"""Openness below which an eye is shut. Of 112 photographs of shut eyes, `fast` gives 0.15 at the mean, and 9 % more than 0.3
(`vtrack eval --states`). At 0.3 the lids have closed by four fifths of the way from 1 to 0.15."""


@dataclass(frozen=True, slots=True)
class LidMotion:
    """How lids closed and opened again: those of one eye, or of both together.

    Openness is the opening of an eye relative to that of the same eye when it is open: 1 open, 0 shut. Times lie between
    frames, where the openness crosses a threshold, so they do not depend on the frame rate.

    Examples:
        >>> import vtrack
        >>> lids = vtrack.LidMotion(start=0.8, peak=0.88, end=1.0, amplitude=0.85, sigma=0.1)
        >>> lids.complete
        True
    """

    start: float
    """Seconds at which the openness had fallen by 0.1."""
    peak: float
    """Seconds of the frame with the smallest openness."""
    end: float
    """Seconds at which the openness rose above 0.75; of an eye that did not reach it, the last frame of the event."""
    amplitude: float
    """By how much the eye was closed at the peak: 0 open, 1 shut."""
    sigma: float
    """Standard deviation of the amplitude, from those of the points."""

    @property
    def complete(self) -> bool:
        """Whether the eye was shut at the peak."""
        return self.amplitude > 1 - SHUT


@dataclass(frozen=True, slots=True)
class EyeEvent:
    """A blink, wink, squint or closure of the eyes of one face.

    Examples:
        >>> import vtrack
        >>> results = vtrack.track("samples/sample.mp4", parts="eyes", stop=1.5, measures=True)
        >>> for event in (event for result in results for event in result.events):
        ...     print(event.kind, event.eye, event.lids.complete, round(event.lids.start, 1), round(event.lids.end, 1))
        blink both True 0.8 1.0
    """

    face: int
    """Identity of the face, `Face.id`."""
    kind: str
    """`blink`: both eyes close, and open again within 0.6 s; `closure`: they stay shut for longer; `squint`: they stay narrow
    for longer, by a squint or a look down; `wink`: one eye closes while the other stays open."""
    eye: str
    """`left` or `right` (of the image) in a wink, else `both`."""
    whole: bool
    """Whether start and end were seen; otherwise the face, scene or video began or ended meanwhile."""
    lids: LidMotion
    """Of the eye that winks, else of both eyes: their mean, weighted by the certainty of their points."""
    left: LidMotion
    right: LidMotion


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Measures(Mapping[str, float]):
    """The measures of one face in one frame, by name: eye opening, blinks, head turn and the like. Read-only.

    Empty, and so false, where measures were not asked for.

    Examples:
        >>> import vtrack
        >>> result = next(vtrack.track("samples/sample.mp4", measures=True))
        >>> face = result.faces[0]
        >>> sorted(face.measures)[:3]
        ['blink', 'blinks', 'left_brow_raise']
        >>> 0 < face.measures["left_eye_open"] < 1
        True
    """

    names: tuple[str, ...]
    array: npt.NDArray[np.floating]
    """(measures,) the values, in the order of `names`."""

    def __post_init__(self) -> None:
        if self.array.shape != (len(self.names),):
            raise ValueError(f"measures must have shape ({len(self.names)}), got {self.array.shape}")

    def __getitem__(self, name: str) -> float:
        if not self.names:
            raise NameNotAskedError(f"measures were not asked for; track with {spelled('measures', True)}")
        if name not in self.names:
            see = f"the measures are {', '.join(self.names)}"
            raise NameNotAskedError(f"there is no measure {name!r}; {nearest(name, self.names, see=see)}")
        return float(self.array[self.names.index(name)])

    @classmethod
    def none(cls) -> Measures:
        """The measures of a face that was not measured."""
        return _NONE

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Measures({', '.join(f'{name}={value:.4g}' for name, value in self.items())})"


_NONE = Measures((), np.zeros(0))

_POSE = (
    *("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"),
    *("pose_qw", "pose_qx", "pose_qy", "pose_qz"),
)
POSE_NAMES = (*_POSE, *(f"{name}_sd" for name in _POSE), "pose_focal")
"""Names of the numbers of a pose, in the order of `HeadPose.array`."""


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class HeadPose:
    """Where a head is in space and how it is turned, with standard deviations. NaN where too few points are known.

    Axes of the camera are x to the right of the image, y down, z away from the camera; those of the head are the same for a
    head that looks straight along the camera's axis. The origin of the head is the middle between the outer corners of its
    eyes. Names and signs are those of OpenFace.

    Examples:
        >>> import vtrack
        >>> face = next(vtrack.track("samples/sample.mp4", pose=True)).faces[0]
        >>> face.pose.translation.shape, face.pose.rotation.shape
        ((3,), (3, 3))
        >>> bool(face.pose.translation[2] > 5)  # distances between the outer corners of the eyes
        True
    """

    array: npt.NDArray[np.floating]
    """(21,) all numbers: translation, angles, quaternion, their standard deviations in the same order, and focal length."""

    def __post_init__(self) -> None:
        if self.array.shape != (len(POSE_NAMES),):
            raise ValueError(f"a pose must have shape ({len(POSE_NAMES)}), got {self.array.shape}")

    @property
    def translation(self) -> npt.NDArray[np.floating]:
        """(3,) place of the head from the camera, in distances between the outer corners of the eyes or in mm."""
        return self.array[:3]

    @property
    def translation_sd(self) -> npt.NDArray[np.floating]:
        """(3,) standard deviations of `translation`."""
        return self.array[10:13]

    @property
    def angles(self) -> npt.NDArray[np.floating]:
        """(3,) radians about x, y and z; the rotation is Rx Ry Rz, so about z first."""
        return self.array[3:6]

    @property
    def angles_sd(self) -> npt.NDArray[np.floating]:
        """(3,) standard deviations of `angles`."""
        return self.array[13:16]

    @property
    def quaternion(self) -> npt.NDArray[np.floating]:
        """(4,) w, x, y, z of the same rotation; w is not negative."""
        return self.array[6:10]

    @property
    def quaternion_sd(self) -> npt.NDArray[np.floating]:
        """(4,) standard deviations of `quaternion`."""
        return self.array[16:20]

    @property
    def focal(self) -> float:
        """Focal length in pixels that the pose was found with."""
        return float(self.array[20])

    @property
    def rotation(self) -> npt.NDArray[np.floating]:
        """(3, 3) from the axes of the head to those of the camera."""
        w, x, y, z = self.quaternion / np.linalg.norm(self.quaternion)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    def project(self, points: npt.NDArray[np.floating], size: tuple[int, int]) -> npt.NDArray[np.floating]:
        """Pixels at which points of the head are seen.

        Args:
            points: (points, 3) in the axes of the head and the unit of `translation`.
            size: Width and height of the frame in pixels.

        Returns:
            (points, 2) x, y.

        Examples:
            >>> import numpy as np
            >>> import vtrack
            >>> result = next(vtrack.track("samples/sample.mp4", pose=True))
            >>> tip = np.array([[0.0, 0.0, -1.0]])  # of an axis from between the eyes to the camera
            >>> result.faces[0].pose.project(tip, result.frame.size).shape
            (1, 2)
        """
        space = points @ self.rotation.T + self.translation
        return np.asarray(space[:, :2] / space[:, 2:] * self.focal + (np.array(size) - 1) / 2)

    def mirrored(self) -> HeadPose:
        """The pose of the head in a frame that is flipped horizontally."""
        flipped = {"pose_Tx", "pose_Ry", "pose_Rz", "pose_qy", "pose_qz"}
        return HeadPose(self.array * [-1 if name in flipped else 1 for name in POSE_NAMES])

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in zip(_POSE[:6], self.array[:6], strict=True))
        return f"HeadPose({numbers})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Points3d:
    """Where the points of a face are in space, with standard deviations. NaN where that is not known.

    Axes and unit are those of `HeadPose.translation`. Each point lies on the ray through its pixel; its depth is that of a face
    fitted to the points, not measured by itself.

    Examples:
        >>> import vtrack
        >>> face = next(vtrack.track("samples/sample.mp4", parts="eyes:4,nose", points3d=True)).faces[0]
        >>> face.points3d.places.shape == (len(face.points), 3)
        True
    """

    array: npt.NDArray[np.floating]
    """(points, 6) x, y, z and their standard deviations, in the order of `Face.points`."""

    def __post_init__(self) -> None:
        if self.array.ndim != 2 or self.array.shape[1] != 6:
            raise ValueError(f"points in space must have shape (n, 6), got {self.array.shape}")

    @property
    def places(self) -> npt.NDArray[np.floating]:
        """(points, 3) x to the right of the image, y down, z away from the camera."""
        return self.array[:, :3]

    @property
    def sd(self) -> npt.NDArray[np.floating]:
        """(points, 3) standard deviations of `places`."""
        return self.array[:, 3:]

    def mirrored(self) -> Points3d:
        """The points of the face in a frame that is flipped horizontally."""
        return Points3d(self.array * (-1, 1, 1, 1, 1, 1))

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, chosen: slice) -> Points3d:
        return Points3d(self.array[chosen])

    def __repr__(self) -> str:
        return f"Points3d({len(self)} points)"


def _both(*shapes: str) -> tuple[str, ...]:
    """Shapes of the left and of the right of the person."""
    return tuple(f"{shape}{side}" for shape in shapes for side in ("Left", "Right"))


SHAPES = (
    *_both("eyeBlink", "eyeWide", "browDown"),
    "browInnerUp",
    *_both("browOuterUp"),
    *("jawOpen", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight"),
    *_both("mouthSmile", "mouthFrown", "mouthStretch", "mouthUpperUp"),
    *("mouthRollUpper", "mouthRollLower"),
)
"""Those of ARKit's 52 blend shapes that points in the image and the pose of the head tell, by ARKit's names. Left and right are
those of the person."""
ACTION_UNITS = tuple(f"AU{unit}_proxy" for unit in ("01", "02", "04", "12", "15", "25", "26", "43"))
"""What comes near to action units of the face, whose definition is about muscles."""
ASYMMETRIES = ("asymmetry_eyes", "asymmetry_brows", "asymmetry_mouth")
SPEEDS = ("speed_eyes", "speed_brows", "speed_smile", "speed_jaw")
EXPRESSIONS = (*SHAPES, *ACTION_UNITS, *ASYMMETRIES, *SPEEDS)
EXPRESSION_NAMES = (*EXPRESSIONS, *(f"{name}_sd" for name in EXPRESSIONS))
"""Names of the numbers of an expression, in the order of `Expressions.array`."""


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Expressions(Mapping[str, float]):
    """What a face does apart from its neutral, by name, with standard deviations. NaN where the head's pose is not known.

    Shapes and action units are 0 (neutral) to 1 (strongest), asymmetries -1 to 1, positive where the person's left is
    stronger, speeds per second. `<name>_sd` is the standard deviation of each.

    Examples:
        >>> import vtrack
        >>> face = next(vtrack.track("samples/sample.mp4", expressions=True)).faces[0]
        >>> 0 <= face.expressions["jawOpen"] <= 1, face.expressions["jawOpen_sd"] > 0
        (True, True)
        >>> len(face.expressions.shapes)
        24
    """

    array: npt.NDArray[np.floating]
    """(78,) all numbers, then their standard deviations in the same order: see `EXPRESSION_NAMES`."""

    def __post_init__(self) -> None:
        if self.array.shape != (len(EXPRESSION_NAMES),):
            raise ValueError(f"expressions must have shape ({len(EXPRESSION_NAMES)}), got {self.array.shape}")

    def __getitem__(self, name: str) -> float:
        if name not in EXPRESSION_NAMES:
            hint = nearest(name, EXPRESSION_NAMES, see="see vtrack.Expressions")
            raise NameNotAskedError(f"there is no expression {name!r}; {hint}")
        return float(self.array[EXPRESSION_NAMES.index(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(EXPRESSION_NAMES)

    def __len__(self) -> int:
        return len(EXPRESSION_NAMES)

    def mirrored(self) -> Expressions:
        """The expressions of the face in a frame that is flipped horizontally."""
        sides = {"Left": "Right", "Right": "Left"}

        def other(name: str) -> str:
            stem, deviation = name.removesuffix("_sd"), name[len(name.removesuffix("_sd")) :]
            return next((stem.removesuffix(a) + b for a, b in sides.items() if stem.endswith(a)), stem) + deviation

        signs = [-1 if name in ASYMMETRIES else 1 for name in EXPRESSION_NAMES]
        return Expressions(self.array[[EXPRESSION_NAMES.index(other(name)) for name in EXPRESSION_NAMES]] * signs)

    @property
    def shapes(self) -> dict[str, float]:
        """The blend shapes by ARKit's names."""
        return {name: self[name] for name in SHAPES}

    def __repr__(self) -> str:
        strong = {name: value for name, value in self.shapes.items() if value >= 0.1}
        return f"Expressions({', '.join(f'{name}={value:.2g}' for name, value in strong.items())})"
