"""Names of kinds of arrays, and a check of their shapes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
ImageArray = npt.NDArray[np.uint8]


def check_shape(name: str, array: Array, *shape: int | None) -> None:
    """Raise unless `array` has the given shape; None stands for any length."""
    if array.shape == shape:
        return
    fits = len(array.shape) == len(shape)
    for want, have in zip(shape, array.shape, strict=False):
        fits = fits and (want is None or want == have)
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")
