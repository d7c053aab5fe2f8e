"""Small extractors of local features, for pictures and for heatmaps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vtrack.models.backbones.blocks import conv_norm


class LocalFeatures(nn.Module):
    """Features of an image or of heatmaps at a quarter, half and full resolution."""

    def __init__(self, inside: int, widths: Sequence[int]) -> None:
        super().__init__()
        coarse, middle, fine = widths
        self.fine = nn.Sequential(conv_norm(inside, fine), conv_norm(fine, fine))
        self.middle = nn.Sequential(conv_norm(fine, middle, stride=2), conv_norm(middle, middle))
        self.coarse = nn.Sequential(conv_norm(middle, coarse, stride=2), conv_norm(coarse, coarse))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps, coarsest first."""
        fine = self.fine(x)
        middle = self.middle(fine)
        return [self.coarse(middle), middle, fine]
