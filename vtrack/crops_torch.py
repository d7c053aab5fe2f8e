"""The warp of `vtrack.crops` on an accelerator: all crops of all frames at once, the same pixels within one level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from vtrack.crops import Crops, Places, halvings
from vtrack.planes import FloatArray, Pixels, Planes


def uploaded(images: Sequence[Pixels], device: torch.device | str) -> torch.Tensor:
    """(frames, H, W, 3) uint8 RGB on the device. Planes travel as they are, in half the bytes, and become RGB there."""
    first = images[0]
    if not isinstance(first, Planes) or not all(isinstance(image, Planes) for image in images):
        rgb = [image.whole() if isinstance(image, Planes) else image for image in images]
        return torch.as_tensor(np.stack(rgb)).to(device)
    luma, blue, red = (
        torch.as_tensor(np.stack(planes)).to(device, non_blocking=True)
        for planes in zip(
            *([plane for plane, _, _ in image.each] for image in images if isinstance(image, Planes)), strict=True
        )
    )
    height, width = luma.shape[1:]
    colour = functional.interpolate(torch.stack([blue, red], 1).float(), scale_factor=2, mode="bilinear")
    planes = torch.cat([luma[:, None].float(), colour[:, :, :height, :width]], 1)  # (frames, 3, H, W)
    matrix = torch.as_tensor(first.colours.to_rgb, dtype=torch.float32, device=device)
    mixed = torch.einsum("rc,fchw->fhwr", matrix[:, :3], planes) + matrix[:, 3]
    return mixed.round().clamp(0, 255).to(torch.uint8)


def warp_tensor(images: torch.Tensor, which: Places, crops: Crops, size: int) -> torch.Tensor:
    """`warp` on the device of `images` (frames, H, W, 3) uint8: all crops at once, (crops, 3, size, size) uint8."""
    shrinks = 2 ** halvings(crops.sides, size, tuple(images.shape[1:3]))
    places = torch.as_tensor(np.asarray(which), device=images.device)
    out = torch.empty((len(crops), size, size, 3), dtype=torch.uint8, device=images.device)
    for shrink in np.unique(shrinks):
        members = np.flatnonzero(shrinks == shrink)
        matrices = crops[members].matrices(size)
        if shrink > 1:
            # To pixels of the averaged frame, whose pixel 0 has its centre at (shrink - 1) / 2 of the full one.
            matrices[:, :, 2] -= (shrink - 1) / 2
            matrices /= shrink
        chosen = torch.as_tensor(members, device=images.device)
        needed, inverse = torch.unique(places[chosen], return_inverse=True)
        small = images[needed] if shrink > 1 else images
        if shrink > 1:
            planes = functional.avg_pool2d(small.permute(0, 3, 1, 2).float(), int(shrink), ceil_mode=False)
            small = planes.permute(0, 2, 3, 1).round().contiguous()
        out[chosen] = _sampled(small, inverse if shrink > 1 else places[chosen], matrices, size)
    return out.permute(0, 3, 1, 2).contiguous()


def _sampled(images: torch.Tensor, which: torch.Tensor, matrices: FloatArray, size: int) -> torch.Tensor:
    """(crops, size, size, 3) uint8 bilinear samples of `images[which]`, black beyond their edge."""
    height, width = images.shape[1:3]
    maps = torch.as_tensor(matrices, dtype=torch.float32, device=images.device)
    steps = torch.arange(size, dtype=torch.float32, device=images.device)
    columns, rows = steps[None, :], steps[:, None]
    xs, ys = (
        maps[:, axis, 0, None, None] * columns + maps[:, axis, 1, None, None] * rows + maps[:, axis, 2, None, None]
        for axis in (0, 1)
    )
    left, top = xs.floor(), ys.floor()
    flat = images.reshape(-1, 3)
    total = torch.zeros((*xs.shape, 3), dtype=torch.float32, device=images.device)
    for down in (0, 1):
        for right in (0, 1):
            column, row = left + right, top + down
            weight = (1 - (xs - column).abs()) * (1 - (ys - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = (which[:, None, None] * height + row.clamp(0, height - 1).long()) * width
            pixels = flat[place + column.clamp(0, width - 1).long()]
            total += (weight * inside)[..., None] * pixels
    return total.round().to(torch.uint8)
