"""A model that is trained already, whose answers a new one learns from beside the labels.

Labels of one point differ from photograph to photograph by more than the point does; what a better model says of it is calmer.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vtrack.errors import UsageError
from vtrack.models import load_model
from vtrack.models.engines import TorchEngine
from vtrack.training.precision import autocast


class Teacher:
    """A shipped model, or one named by its .json, on a device."""

    def __init__(self, name: str, share: float, margin: float, device: torch.device) -> None:
        """`share` of what is learned is the teacher's, the rest the label's; `margin` is that of the crops."""
        if not 0 < share <= 1:
            raise UsageError(f"the teacher's share must lie in 0..1, more than 0, not {share}")
        model = load_model(name, device=str(device), engine="torch")
        assert isinstance(model, TorchEngine)
        if model.margin != margin:
            raise UsageError(f"{name} knows crops with a margin of {model.margin}, not {margin}; take another teacher")
        self._network, self._size = model.network, model.input_size
        self._share = share

    @torch.no_grad()
    def corrected(self, labels: Tensor, crops: Tensor, parts: Tensor, positions: Tensor) -> Tensor:
        """Labels (B, L, 2) in crop units moved towards the teacher's answers; missing ones stay missing."""
        if crops.shape[-1] != self._size:
            sized = functional.interpolate(
                crops.float(), size=(self._size, self._size), mode="bilinear", antialias=True
            )
            crops = sized.round().to(torch.uint8)
        with autocast(crops.device):
            told = self._network(crops, parts, positions).points[-1].float()
        return labels + self._share * (told - labels)
