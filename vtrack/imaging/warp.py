"""Cuts face crops out of images: on the CPU by OpenCV, on an accelerator by torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.imaging.crops import Crops, cuts_of
from vtrack.imaging.planes import Pixels, Planes, rgb_of

Places = Sequence[int] | npt.NDArray[np.integer]
"""Index of the image that each crop is cut from."""


def warp(images: Sequence[Pixels], which: Places, crops: Crops, size: int, device: str | None = None) -> Any:
    """Cut crops out of images.

    A crop much larger than `size` is averaged down first, since bilinear sampling alone would skip pixels and alias.

    Args:
        images: RGB images (H, W, 3) or planes.
        which: Index of the image that each crop is cut from.
        crops: Location of the crops.
        size: Side of the result in pixels.
        device: Device of the result; None for the CPU.

    Returns:
        (crops, 3, size, size) uint8, black beyond the image: a NumPy array on the CPU, else a tensor on the device, equal
        within a few levels.
    """
    pictures = [images[place] for place in which]
    if device is not None and not device.startswith("cpu"):
        # Without a device torch is not needed, and importing it would cost more than a short clip does.
        from vtrack.imaging.warp_torch import warp_there

        return warp_there(pictures, crops, size, device)
    out, cuts = np.empty((len(crops), 3, size, size), np.uint8), cuts_of(pictures, crops, size)
    for i, (picture, place) in enumerate(zip(pictures, out, strict=True)):
        if isinstance(picture, Planes):
            for (plane, step, black), shown in zip(picture.each, place, strict=True):
                cuts[step][i].make(plane, black, shown)
            place[:] = rgb_of(place[None], picture.colours)[0]
        else:
            upright = np.empty((size, size, 3), np.uint8)
            cuts[1][i].make(picture, 0, upright)
            place[:] = upright.transpose(2, 0, 1)
    return out
