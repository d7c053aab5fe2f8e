"""Vision transformers: the image as a sequence of patches, and a pyramid of maps made from their tokens.

Parameters of the `plain` kind are named as timm's. The `clip` kind differs as CLIP's and FaRL's image encoders do: the
patch projection has no bias, tokens are normed before the first block, and the activation is x * sigmoid(1.702 x).
`vtrack.models.backbones.pretrained` renames CLIP's parameters to these.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.models.backbones.blocks import Backbone


class ViT(Backbone):
    """Maps at strides 4, 8, 16 and 32 from the tokens after the four quarters of the blocks."""

    strides = (4, 8, 16, 32)
    own = ("ladder.",)

    def __init__(
        self, dim: int = 768, depth: int = 12, heads: int = 12, patch: int = 16, grid: int = 14, kind: str = "plain"
    ) -> None:
        super().__init__()
        clip = kind == "clip"
        self.patch_embed = PatchEmbedding(dim, patch, bias=not clip)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + grid * grid, dim) * 0.02)
        epsilon = 1e-5 if clip else 1e-6
        self.norm_pre = nn.LayerNorm(dim, epsilon) if clip else nn.Identity()
        activation = QuickGelu() if clip else nn.GELU()
        self.blocks = nn.ModuleList(Block(dim, heads, activation, epsilon) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, epsilon)
        self.grid = grid
        self.taken = tuple(depth * quarter // 4 - 1 for quarter in range(1, 5))
        half, quarter = dim // 2, dim // 4
        self.ladder = nn.ModuleList(
            [
                nn.Sequential(_enlarge(dim, half), nn.BatchNorm2d(half), nn.GELU(), _enlarge(half, quarter)),
                _enlarge(dim, half),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )
        self.channels = (quarter, half, dim, dim)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        rows, columns = x.shape[2:]
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)], 1)
        tokens = self.norm_pre(tokens + self._places(rows, columns))
        maps: list[Tensor] = []
        for depth, block in enumerate(self.blocks):
            tokens = block(tokens)
            if depth in self.taken:
                output = self.norm(tokens) if depth == self.taken[-1] else tokens
                # Add the class token, which describes the whole image, to every patch.
                cells = output[:, 1:] + output[:, :1]
                maps.append(self.ladder[len(maps)](cells.transpose(1, 2).unflatten(2, (rows, columns))))
        return maps

    def _places(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows * columns, dim) position embeddings, resampled if the image is not of the published size."""
        whole, cells = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        if (rows, columns) == (self.grid, self.grid):
            return self.pos_embed
        square = cells.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        square = functional.interpolate(square, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([whole, square.flatten(2).transpose(1, 2)], 1)


def _enlarge(inside: int, outside: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inside, outside, 2, 2)


class PatchEmbedding(nn.Module):
    """One token from each patch."""

    def __init__(self, dim: int, patch: int, bias: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(x)
        return out


class Block(nn.Module):
    """Attention among all tokens, then two linear layers on each."""

    def __init__(self, dim: int, heads: int, activation: nn.Module, epsilon: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, epsilon), nn.LayerNorm(dim, epsilon)
        self.attn = SelfAttention(dim, heads)
        self.mlp = Mlp(dim, activation)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class SelfAttention(nn.Module):
    """Multi-head attention with queries, keys and values from one projection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers, four times as wide between."""

    def __init__(self, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 4 * dim), activation, nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(tokens)))
        return out


class QuickGelu(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)
