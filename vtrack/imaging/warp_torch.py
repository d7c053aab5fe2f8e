"""The warp of `vtrack.imaging.warp` on an accelerator: all crops at once, the same pixels within a few levels.

Only the windows that crops show are copied to the device, in planes: most of an image is not a face.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vtrack.imaging.crops import Crops, Cut, cuts_of
from vtrack.imaging.planes import FloatArray, ImageArray, Pixels, Planes


@torch.inference_mode()
def warp_there(pictures: Sequence[Pixels], crops: Crops, size: int, device: str) -> Tensor:
    """`vtrack.imaging.warp.warp` of each crop out of its picture: (crops, 3, size, size) uint8 on the device."""
    if not len(crops):
        return torch.empty((0, 3, size, size), dtype=torch.uint8, device=device)
    planes = [picture for picture in pictures if isinstance(picture, Planes)]
    if len(planes) < len(pictures) or len({picture.colours.black for picture in planes}) > 1:
        # Not all stored alike, as where a video changes midway.
        whole = {id(picture): picture.whole() if isinstance(picture, Planes) else picture for picture in pictures}
        rgb = [whole[id(picture)] for picture in pictures]
        return _sampled(rgb, cuts_of(rgb, crops, size, narrow=True)[1], 0, size, device).to(torch.uint8).contiguous()
    cuts = cuts_of(planes, crops, size, narrow=True)
    lumas, blues, reds = zip(*(picture.each for picture in planes), strict=True)
    (_, _, dark), (_, halved, grey) = lumas[0], blues[0]
    luma = _sampled([plane for plane, *_ in lumas], cuts[1], dark, size, device)
    colour = _sampled([plane for plane, *_ in (*blues, *reds)], cuts[halved] * 2, grey, size, device)
    stored = torch.cat([luma, *colour.split(len(crops))], 1)  # (crops, 3, size, size)
    matrices = _sent(np.stack([picture.colours.to_rgb for picture in planes]), device)
    mixed = torch.baddbmm(matrices[:, :, 3:], matrices[:, :, :3], stored.flatten(2))
    return mixed.add_(0.5).clamp_(0, 255).to(torch.uint8).view(stored.shape)


def _sampled(planes: Sequence[ImageArray], cuts: Sequence[Cut], black: int, size: int, device: str) -> Tensor:
    """(crops, channels, size, size) whole numbers: one cut out of each plane (H, W) or picture (H, W, channels)."""
    halvings = np.array([cut.halvings for cut in cuts])
    steps = _sent((2 * np.arange(size) + 1) / size - 1, device)  # pixels of a crop, from -1 to 1 across
    parts, order = [], []
    for times in np.unique(halvings).tolist():
        members = np.flatnonzero(halvings == times).tolist()
        windows = [planes[member][cuts[member].window] for member in members]
        seen = _sent_windows(windows, 2**times, black, device).permute(0, 3, 1, 2).float() - black
        for _ in range(times):
            seen = functional.avg_pool2d(seen, 2).add_(0.5).floor_()  # as OpenCV rounds
        maps = _normalised(np.stack([cuts[member].matrix for member in members]), size, tuple(seen.shape[2:]))
        across, down, start = _sent(maps, device)[:, None, None].unbind(-1)  # (members, 1, 1, 2) x, y each
        # Not by a matrix product, for which a program may have chosen fewer digits.
        grid = across * steps[:, None] + down * steps[:, None, None] + start
        parts.append(functional.grid_sample(seen, grid, align_corners=False).add_(black).round())
        order += members
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts)[torch.from_numpy(np.argsort(order)).to(device, non_blocking=True)]


def _sent_windows(windows: Sequence[ImageArray], block: int, black: int, device: str) -> Tensor:
    """(windows, H, W, channels) on the device, black where one is smaller than the largest."""
    shapes = np.array([window.shape[:2] for window in windows])
    height, width = (-(-shapes.max(0) // block) * block).tolist()
    channels = windows[0].shape[2:] or (1,)
    # Memory that the GPU itself can read, so that it is sent while the CPU goes on. Torch keeps it for the next time.
    stack = torch.empty((len(windows), height, width, *channels), dtype=torch.uint8, pin_memory=device[:4] == "cuda")
    places = stack.numpy()
    if (shapes != (height, width)).any():
        places.fill(black)
    for place, window in zip(places, windows, strict=True):
        place[: window.shape[0], : window.shape[1]] = window.reshape(*window.shape[:2], *channels)
    return stack.to(device, non_blocking=True)


def _sent(array: FloatArray, device: str) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).to(device, non_blocking=True)


def _normalised(maps: FloatArray, size: int, shape: tuple[int, ...]) -> FloatArray:
    """(crops, 2, 3) maps from pixels of a crop to those of a window, both from -1 to 1 across."""
    across = np.array(shape[::-1])[:, None]
    middle = maps[:, :, :2].sum(2, keepdims=True) * (size - 1) / 2 + maps[:, :, 2:]
    return np.concatenate([maps[:, :, :2] * size / across, (2 * middle + 1) / across - 1], 2)
