"""A model that is trained already, whose answers a new one learns from beside the labels.

Labels of one point differ from photograph to photograph by more than the point does; what a better model says of it is calmer.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from vtrack.errors import UsageError
from vtrack.models import card_path
from vtrack.models.backbones import channels_last
from vtrack.models.card import read_card
from vtrack.models.networks import load_network
from vtrack.training.precision import autocast


class Teacher:
    """A shipped model, or one named by its .json, on a device."""

    def __init__(self, name: str, share: float, margin: float, device: torch.device) -> None:
        """`share` of what is learned is the teacher's, the rest the label's; `margin` is that of the crops."""
        if not 0 < share <= 1:
            raise UsageError(f"the teacher's share must lie in 0..1, more than 0, not {share}")
        path: Path = card_path(name)
        card = read_card(path)
        if card.config["margin"] != margin:
            raise UsageError(
                f"{name} knows crops with a margin of {card.config['margin']}, not {margin}; take another teacher"
            )
        self._network = channels_last(load_network(card, path.with_suffix(".safetensors")).to(device)).eval()
        self._size: int = card.config["input_size"]
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
