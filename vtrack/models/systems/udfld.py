"""Unified dynamic landmark detection (paper 000): any points of any parts, as queries to one network.

A point is a part (the embedding of its name in words) and a position along it. The image's features are compared with
each query: the softmax-weighted mean of features and of grid coordinates starts the query and its coordinates
(equation 2). Decoder layers refine both: self-attention, deformable attention at the current coordinates,
cross-attention to the image-agnostic encodings, feed-forward, coordinate offsets (equations 3-7).

Beyond the paper: a standard deviation for each point, the probability that the crop shows a face, and the current coordinates
as a positional code of the queries. The maps are projected once for all layers instead of once a layer, since that
projection would cost more than all queries together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.data.store import Store
from vtrack.errors import ModelError, UsageError
from vtrack.models.backbones.blocks import constant
from vtrack.models.backbones.registry import FeaturePyramid, build_backbone, normalise
from vtrack.models.systems.base import Labelled, System, full_precision
from vtrack.models.systems.losses import gap_loss, landmark_loss, place_loss
from vtrack.models.systems.output import Output
from vtrack.text import embed

TEXT_DIM = 384
"""Width of the sentence encoder's embeddings."""


@dataclass(frozen=True)
class UdfldConfig:
    """The shape of one network."""

    backbone: str = "resnet18-half"
    input_size: int = 128
    dim: int = 128
    layers: int = 2
    heads: int = 8
    samples: int = 4
    """Points each head looks at on each map."""
    hidden: int = 256
    """Width inside the feed-forward blocks."""
    parts: str = "language"
    """`language`: a part is told by what its name means. `learnable`: by a vector of its own, as in earlier work; such a
    network takes a part it has not met for the one whose name is nearest."""
    vocabulary: int = 0
    """Most parts a `learnable` network can learn."""
    position_waves: int = 0
    """Sines and cosines of so many frequencies that the position MLP is given beside the position itself, which alone
    it learns to tell apart only slowly; 0 is the paper's form."""
    margin: float = 1.25

    def __post_init__(self) -> None:
        if self.parts not in ("language", "learnable") or (self.parts == "learnable") != (self.vocabulary > 0):
            raise ModelError(
                f"parts is language, or learnable with a vocabulary of at least 1; not {self.parts} with {self.vocabulary}"
            )


class Udfld(System):
    """Crops and queries to points."""

    config: UdfldConfig
    known_parts: Tensor

    def __init__(self, config: UdfldConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.backbone = build_backbone(config.backbone)
        channels = self.backbone.channels
        self.pyramid = FeaturePyramid(channels, dim)
        if config.parts == "learnable":
            self.part_table = nn.Embedding(config.vocabulary, dim)
            self.register_buffer("known_parts", torch.zeros(config.vocabulary, TEXT_DIM))
        else:
            self.part_projection = Linear(TEXT_DIM, dim)
        self.position_mlp = mlp(1 + 2 * config.position_waves, dim, dim)
        self.query_norm = nn.LayerNorm(dim)
        self.place_mlp = mlp(4 * PLACE_WAVES, dim, dim)
        # The coarsest map has too few cells to look up points on it; it reaches the others through the pyramid.
        self.layers = nn.ModuleList(DecoderLayer(config, levels=len(channels) - 1) for _ in range(config.layers))
        # Not a `Linear` at its end: OpenVINO loses the bias of a product that has one column.
        self.sigma_head = nn.Sequential(Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, 1))
        self.presence_head = Linear(channels[-1], 1)

    def encode_queries(self, parts: Tensor, positions: Tensor) -> Tensor:
        """(L, dim) image-agnostic encodings, equation 1, of parts (L, 384) in words and positions (L,)."""
        if self.config.parts == "learnable":
            part = self.part_table((parts @ self.known_parts.T).argmax(-1))
        else:
            part = self.part_projection(parts)
        encoded: Tensor = self.query_norm(self.position_mlp(self._position_code(positions)) + part)
        return encoded

    def prepare(self, stores: Sequence[Store]) -> None:
        """Give each part of the training data its row."""
        if self.config.parts != "learnable":
            return
        names = list(dict.fromkeys(part for store in stores for part in store.layout.query.parts))
        if len(names) > self.config.vocabulary:
            raise UsageError(
                f"the data has {len(names)} parts, vocabulary={self.config.vocabulary} is too small for them"
            )
        self.known_parts[: len(names)] = torch.from_numpy(embed(names))

    def _position_code(self, positions: Tensor) -> Tensor:
        """(L, 1 + 2 waves) positions, and where each is on its way round circles."""
        waves = torch.arange(1, self.config.position_waves + 1, device=positions.device)
        angles = 2 * torch.pi * positions[:, None] * waves
        return torch.cat([positions[:, None], angles.sin(), angles.cos()], -1)

    def forward(self, crops: Tensor, parts: Tensor, positions: Tensor) -> Output:
        """`crops` (B, 3, S, S) uint8; `parts` and `positions` describe L points."""
        return self._answer(crops, parts, positions)[0]

    def _answer(self, crops: Tensor, parts: Tensor, positions: Tensor) -> tuple[Output, Tensor]:
        """The output, and the logits (B, L, H, W) of where each point starts."""
        maps = self.backbone(normalise(crops).contiguous(memory_format=torch.channels_last))
        presence = self.presence_head(maps[-1].mean((2, 3)))[:, 0].float()
        maps = self.pyramid(maps)[:-1]
        agnostic = self.encode_queries(parts, positions)[None]  # (1, L, dim), the same for every crop
        queries, start, likeness = initialise(maps[0], agnostic)
        points = [start]
        # Offsets are told in cells of the finest map: a step of the optimiser then moves points by less than they are wrong.
        cell = 1.0 / maps[0].shape[-1]
        for layer in self.layers:
            place = self.place_mlp(place_code(points[-1].detach()))
            queries, offsets = layer(queries, place, agnostic, points[-1].detach(), maps)
            points.append(points[-1].detach() + offsets.float() * cell)
        log_sigma = self.sigma_head(queries)[..., 0].float() - 4.0  # starts near 2 % of the crop
        return Output(points, log_sigma.clamp(-9.0, 1.0), presence), likeness

    def loss(self, batch: Labelled) -> tuple[Tensor, dict[str, Tensor]]:
        output, likeness = self._answer(batch.crops, batch.parts, batch.positions)
        with full_precision(batch.crops):
            total, told = landmark_loss(output, batch.points, batch.is_face, batch.trust)
            place = place_loss(likeness, batch.targets, batch.known)
            total = total + 0.5 * batch.trust * place
            told = {**told, "place": place.detach()}
            if batch.pairs is not None:
                # Of the start and of each layer, as the points are.
                gap = sum(gap_loss(points, batch.targets, batch.known, batch.pairs) for points in output.points)
                total = total + 0.1 * batch.gaps * batch.trust * gap
                told["gap"] = torch.as_tensor(gap).detach() / len(output.points)
        return total, told


def initialise(features: Tensor, agnostic: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Equation 2: queries (B, L, dim) and coordinates (B, L, 2) as means of the map weighted by likeness, and its logits.

    The finest map serves: cells are looked up where points differ by less than a coarse cell.
    """
    height, width = features.shape[2:]
    cells = features.flatten(2).transpose(1, 2)  # (B, HW, dim)
    likeness = (agnostic * features.shape[1] ** -0.5 @ cells.transpose(1, 2)).float()
    weights = likeness.softmax(-1)  # (B, L, HW)
    ys = (torch.arange(height, device=features.device, dtype=torch.float32) + 0.5) / height
    xs = (torch.arange(width, device=features.device, dtype=torch.float32) + 0.5) / width
    # Along one axis after the other: sums, not a product of matrices, which autocast would round to half a pixel.
    spread = weights.unflatten(-1, (height, width))
    coordinates = torch.stack([(spread.sum(-2) * xs).sum(-1), (spread.sum(-1) * ys).sum(-1)], -1)
    return weights.to(cells.dtype) @ cells, coordinates, likeness.unflatten(-1, (height, width))


PLACE_WAVES = 8


def place_code(points: Tensor) -> Tensor:
    """(B, L, 4 * PLACE_WAVES) sines and cosines of the coordinates."""
    waves = 2.0 ** torch.arange(PLACE_WAVES, device=points.device) * torch.pi / 2
    angles = (points[..., None] * waves).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], -1)


class DecoderLayer(nn.Module):
    """One refinement of queries and coordinates."""

    def __init__(self, config: UdfldConfig, levels: int) -> None:
        super().__init__()
        dim = config.dim
        self.self_attention = Attention(dim, config.heads)
        self.deformable = DeformableAttention(dim, config.heads, levels, config.samples)
        self.cross_attention = Attention(dim, config.heads)
        self.feed_forward = nn.Sequential(Linear(dim, config.hidden), nn.ReLU(inplace=True), Linear(config.hidden, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))
        self.offset = mlp(dim, dim, 2)
        for parameter in self.offset[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, queries: Tensor, place: Tensor, agnostic: Tensor, points: Tensor, maps: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        placed = queries + place
        queries = self.norms[0](queries + self.self_attention(placed, placed, queries))
        queries = self.norms[1](queries + self.deformable(queries + place, points, maps))
        queries = self.norms[2](queries + self.cross_attention(queries, agnostic, agnostic))
        queries = self.norms[3](queries + self.feed_forward(queries))
        return queries, self.offset(queries)


NEGLIGIBLE = 60.0
"""A score so far below the largest weighs nothing: 1e-26."""


class Attention(nn.Module):
    """Multi-head attention with separate queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (Linear(dim, dim) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        # Written out: for a hundred short queries this trains about three times as fast on a CPU as the fused kernel.
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if not self.training:
            # Some heads choose one point and leave the others weights so near to 0 that a processor takes ten times as long
            # for each: what is that far below the largest may as well be a little more.
            scores = torch.maximum(scores, scores.amax(-1, keepdim=True) - NEGLIGIBLE)
        weights = scores.softmax(-1)
        out: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, dim / heads)


class DeformableAttention(nn.Module):
    """Each head of each query looks at a few places of every map around the query's coordinates."""

    def __init__(self, dim: int, heads: int, levels: int, samples: int) -> None:
        super().__init__()
        self.heads, self.levels, self.samples = heads, levels, samples
        self.offsets = Linear(dim, heads * levels * samples * 2)
        self.weights = Linear(dim, heads * levels * samples)
        self.out = Linear(dim, dim)
        nn.init.zeros_(self.offsets.weight)
        # Heads start by looking in different directions, samples at growing distances, in cells of each map.
        turn = torch.arange(heads) * (2 * torch.pi / heads)
        rays = torch.stack([turn.cos(), turn.sin()], -1)[:, None, None] * torch.arange(1, samples + 1)[:, None]
        self.offsets.bias.data = rays.expand(heads, levels, samples, 2).reshape(-1).clone() * 0.5
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, queries: Tensor, points: Tensor, maps: list[Tensor]) -> Tensor:
        batch, count = points.shape[:2]
        places = self._places(queries, points, maps)
        weights = self.weights(queries).float().view(batch, count, self.heads, -1).softmax(-1)
        shares = weights.transpose(1, 2).flatten(0, 1)[:, None].split(self.samples, -1)  # (B * heads, 1, L, S) each
        mixed = torch.zeros((), device=points.device)
        for features, where, share in zip(maps, places, shares, strict=True):
            looked = functional.grid_sample(
                features.reshape(batch * self.heads, -1, *features.shape[2:]).float(), where, align_corners=False
            )  # (B * heads, dim / heads, L, S)
            mixed = mixed + (looked * share).sum(-1)
        out: Tensor = self.out(mixed.view(batch, -1, count).transpose(1, 2))
        return out

    def _places(self, queries: Tensor, points: Tensor, maps: list[Tensor]) -> Tensor:
        """(levels, B * heads, L, S, 2) where to look on each map, from -1 to 1 across it.

        Offsets in cells of each map are brought to its size within the layer's weights, and the points are added as two
        more of its inputs: as operations of their own on so many short rows both would cost more than the layer.
        """
        heads, levels, samples = self.heads, self.levels, self.samples
        shape = (heads, levels, samples, 2)
        cells = constant([[float(x.shape[3]), float(x.shape[2])] for x in maps], points.device)
        scale = (2 / cells)[None, :, None].expand(shape).reshape(-1, 1)
        centre = torch.eye(2, device=points.device).repeat(heads * levels * samples, 1)
        with full_precision(queries):
            inputs = torch.cat([queries.float(), points * 2 - 1], -1)
            weight = torch.cat([self.offsets.weight * scale, centre], 1)
            places = functional.linear(inputs, weight, self.offsets.bias * scale[:, 0])
        return places.view(*points.shape[:2], *shape).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)


class Linear(nn.Linear):
    """A layer of rows. As one matrix, they and the bias are one product to a runtime; with more dimensions, two steps."""

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = super().forward(rows.flatten(0, -2)).unflatten(0, rows.shape[:-1])
        return out


def mlp(inside: int, hidden: int, outside: int) -> nn.Sequential:
    """Two linear layers with a ReLU between."""
    return nn.Sequential(Linear(inside, hidden), nn.ReLU(inplace=True), Linear(hidden, outside))
