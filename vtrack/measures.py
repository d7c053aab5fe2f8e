"""What a face does in numbers, by name; `vtrack.pipelines.measures` computes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.errors import NameNotAskedError, spelled
from vtrack.parts import nearest


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
