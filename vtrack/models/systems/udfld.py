"""Unified dynamic face landmark detection (UDFLD): any points of any parts, as queries to one network.

A query is a part (the sentence embedding of its name) and a position along it. Softmax attention of each query over the
image's features initialises the query and its coordinates (equation 2). Decoder layers refine both: self-attention,
deformable attention at the current coordinates, cross-attention to the image-agnostic encodings, feed-forward, coordinate
offsets (equations 3-7).

Beyond the paper: a standard deviation for each point, the probability that something hides it, the probability that the crop
shows a face, and the current coordinates as a position code of the queries. The maps are projected once for all layers instead
of once per layer, since that projection would cost more than all queries together.
Beyond the paper: a standard deviation for each point, the probability that the crop shows a face, and the current
coordinates as a position code of the queries. The maps are projected once for all layers instead of once per layer, since
that projection would cost more than all queries together, and the finest one not at all where only the softmax sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.data.store import FaceStore
from vtrack.errors import ModelError, UsageError
from vtrack.models.backbones.blocks import constant
from vtrack.models.backbones.registry import FeaturePyramid, build_backbone, normalise
from vtrack.models.systems.base import LabelledBatch, System, full_precision
from vtrack.models.systems.losses import gap_loss, hidden_loss, landmark_loss, place_loss
from vtrack.models.systems.output import Output
from vtrack.text import embed

TEXT_DIM = 384
"""Width of the sentence encoder's embeddings."""


@dataclass(frozen=True)
class UdfldConfig:
    """Size of the network and form of its queries."""

    backbone: str = "resnet18-half"
    input_size: int = 128
    dim: int = 128
    layers: int = 2
    heads: int = 8
    samples: int = 4
    """Sampling points of each head on each map."""
    hidden: int = 256
    """Width inside the feed-forward blocks."""
    parts: str = "language"
    """`language`: a part is encoded by the embedding of its name. `learnable`: by a learned vector, as in earlier work.
    `tuned`: by a vector that starts as the embedding of its name and is trained, as the output of a text encoder that is
    trained too. The latter two treat an unknown part as the known one with the most similar name."""
    vocabulary: int = 0
    """Largest number of parts of a `learnable` or `tuned` network."""
    encoder_rate: float = 1.0
    """Learning rate of the image encoder, and of `tuned` vectors, as a factor of the run's; 0.1 in the paper, where both come
    trained."""
    position_waves: int = 0
    """Number of frequencies whose sines and cosines the position MLP gets beside the position itself. With the position alone
    it learns slowly to distinguish positions. 0 is the paper's form."""
    levels: int = 4
    """Maps of the backbone, from stride 4 on: 4, or 3 to leave out the coarsest and the stages that only it needs."""
    occlusion: bool = False
    """Whether it tells which points are hidden by something in front of the face."""
    attention: bool = True
    """Whether decoder layers attend to the other queries, to the maps and to the image-agnostic encodings, as in the paper.
    Otherwise a layer refines each query by itself, which is cheaper, and hardly worse where initial points are good."""
    margin: float = 1.25

    def __post_init__(self) -> None:
        if self.levels not in (3, 4):
            raise ModelError(f"levels is 4 or 3, not {self.levels}")
        if self.dim % self.heads:
            raise ModelError(f"dim must be a multiple of heads, not {self.dim} with {self.heads}")
        if self.parts not in ("language", "learnable", "tuned") or (self.parts != "language") != (self.vocabulary > 0):
            raise ModelError(
                "parts must be language, or learnable or tuned with a vocabulary of at least 1, not "
                f"{self.parts} with {self.vocabulary}"
            )


class Udfld(System):
    """The query model: any points of any parts."""

    config: UdfldConfig
    known_parts: Tensor

    def __init__(self, config: UdfldConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.backbone = build_backbone(config.backbone, levels=config.levels)
        channels = self.backbone.channels
        self.pyramid = FeaturePyramid(channels, dim)
        self._first = 0 if config.layers and config.attention else 1
        """Index of the finest map of the pyramid that is used."""
        if config.parts != "language":
            tuned = config.parts == "tuned"
            self.part_table = nn.Embedding(config.vocabulary, TEXT_DIM if tuned else dim)
            self.register_buffer("known_parts", torch.zeros(config.vocabulary, TEXT_DIM))
        if config.parts != "learnable":
            self.part_projection = Linear(TEXT_DIM, dim)
        self.position_mlp = mlp(1 + 2 * config.position_waves, dim, dim)
        self.query_norm = nn.LayerNorm(dim)
        self.place_mlp = mlp(4 * PLACE_WAVES, dim, dim) if config.attention else Linear(4 * PLACE_WAVES, dim)
        # The coarsest map has too few cells to sample from; its features reach the other maps through the pyramid.
        self.layers = nn.ModuleList(
            DecoderLayer(config, levels=len(channels) - 1) if config.attention else PointLayer(config)
            for _ in range(config.layers)
        )
        # The last one is not our `Linear`: OpenVINO drops the bias of a product that has one column.
        self.sigma_head = nn.Sequential(Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, 1))
        self.presence_head = Linear(channels[-1], 1)
        if config.occlusion:
            self.hidden_head = nn.Sequential(Linear(2 * dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, 1))

    def encode_queries(self, parts: Tensor, positions: Tensor) -> Tensor:
        """(L, dim) image-agnostic encodings (equation 1) of text vectors (L, 384) and positions (L,)."""
        if self.config.parts != "language":
            parts = self.part_table((parts @ self.known_parts.T).argmax(-1))
        part = parts if self.config.parts == "learnable" else self.part_projection(parts)
        encoded: Tensor = self.query_norm(self.position_mlp(self._position_code(positions)) + part)
        return encoded

    def prepare(self, stores: Sequence[FaceStore]) -> None:
        """Give each part of the training data a row of the table."""
        if self.config.parts == "language":
            return
        names = list(dict.fromkeys(part for store in stores for part in store.layout.query.parts))
        if len(names) > self.config.vocabulary:
            raise UsageError(
                f"the data has {len(names)} parts; set vocabulary to at least that, not {self.config.vocabulary}"
            )
        self.known_parts[: len(names)] = torch.from_numpy(embed(names))
        if self.config.parts == "tuned":
            self.part_table.weight.data[: len(names)] = self.known_parts[: len(names)]

    def rate_of(self, parameter: str) -> float:
        slow = parameter.startswith("backbone.") or (
            self.config.parts == "tuned" and parameter.startswith("part_table.")
        )
        return self.config.encoder_rate if slow else 1.0

    def _position_code(self, positions: Tensor) -> Tensor:
        """(L, 1 + 2 waves) positions, with their sines and cosines."""
        waves = torch.arange(1, self.config.position_waves + 1, device=positions.device)
        angles = 2 * torch.pi * positions[:, None] * waves
        return torch.cat([positions[:, None], angles.sin(), angles.cos()], -1)

    def forward(self, crops: Tensor, parts: Tensor, positions: Tensor) -> Output:
        """`crops` (B, 3, S, S) uint8; `parts` and `positions` describe L points."""
        return self._forward(crops, parts, positions)[0]

    def _forward(self, crops: Tensor, parts: Tensor, positions: Tensor) -> tuple[Output, Tensor]:
        """The output, and the logits (B, L, H, W) of the initial softmax."""
        raw = self.backbone(normalise(crops).contiguous(memory_format=torch.channels_last))
        presence = self.presence_head(raw[-1].mean((2, 3)))[:, 0].float()
        maps = self.pyramid(raw, self._first)[:-1]
        agnostic = self.encode_queries(parts, positions)[None]  # (1, L, dim), the same for every crop
        lateral = cast(nn.Conv2d, self.pyramid.laterals[0])
        queries, start, logits = initialise(raw[0], lateral, maps[1 - self._first], agnostic)
        points = [start]
        # Offsets are in cells of the finest map: then a step of the optimiser moves points by less than their error.
        cell = 1.0 / raw[0].shape[-1]
        for layer in self.layers:
            place = self.place_mlp(place_code(points[-1].detach()))
            queries, offsets = layer(queries, place, agnostic, points[-1].detach(), maps)
            points.append(points[-1].detach() + offsets.float() * cell)
        log_sigma = self.sigma_head(queries)[..., 0].float() - 4.0  # starts near 2 % of the crop
        hidden = self._hidden(queries, points[-1], maps[0]) if self.config.occlusion else None
        return Output(points, log_sigma.clamp(-9.0, 1.0), presence, hidden), logits

    def _hidden(self, queries: Tensor, points: Tensor, finest: Tensor) -> Tensor:
        """(B, L) logits that points are hidden, from their queries and from what the finest map shows where they are."""
        places = (points.detach() * 2 - 1)[:, :, None]
        seen = functional.grid_sample(finest.float(), places, align_corners=False)[..., 0].transpose(1, 2)
        logits: Tensor = self.hidden_head(torch.cat([queries, seen], -1))[..., 0]
        return logits.float()

    def loss(self, batch: LabelledBatch) -> tuple[Tensor, dict[str, Tensor]]:
        output, logits = self._forward(batch.crops, batch.parts, batch.positions)
        with full_precision(batch.crops):
            total, terms = landmark_loss(output, batch.points, batch.is_face, batch.trust)
            place = place_loss(logits, batch.targets, batch.known)
            total = total + 0.5 * batch.trust * place
            terms = {**terms, "place": place.detach()}
            if batch.pairs is not None:
                # The loss of the initial points and of each layer's.
                gap = sum(gap_loss(points, batch.targets, batch.known, batch.pairs) for points in output.points)
                total = total + 0.1 * batch.gaps * batch.trust * gap
                terms["gap"] = torch.as_tensor(gap).detach() / len(output.points)
            if output.hidden is not None and batch.hidden is not None:
                hidden = hidden_loss(output.hidden, batch.hidden)
                total, terms["hidden"] = total + hidden, hidden.detach()
        return total, terms


def initialise(fine: Tensor, lateral: nn.Conv2d, coarse: Tensor, agnostic: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Equation 2: queries (B, L, dim) and coordinates (B, L, 2) as softmax-weighted means over the finest map, and the logits.

    The finest map is used, since points differ by less than a coarse cell. It is the sum of a 1x1 convolution of the
    backbone's map and the enlarged next map, and both the logits and the means are linear in it: they are computed from the
    two terms, which have a fraction of its numbers.

    Args:
        fine: (B, C, H, W) the backbone's finest map.
        lateral: Its 1x1 convolution to `dim` channels.
        coarse: (B, dim, H / 2, W / 2) the next map of the pyramid.
        agnostic: (1, L, dim) encodings of the queries.
    """
    height, width = fine.shape[2:]
    weight = lateral.weight[:, :, 0, 0]  # (dim, C)
    keys = agnostic * agnostic.shape[-1] ** -0.5
    # The convolution's bias adds the same to all logits of a query, which the softmax ignores.
    near = (keys @ weight @ fine.flatten(2)).unflatten(-1, (height, width))
    far = (keys @ coarse.flatten(2)).unflatten(-1, coarse.shape[2:])
    logits = (near + functional.interpolate(far, size=(height, width), mode="nearest")).float()
    weights = logits.flatten(2).softmax(-1)
    queries = functional.linear(weighted_mean(weights, fine), weight, lateral.bias)
    weights = weights.unflatten(-1, (height, width))
    queries = queries + weighted_mean(block_sums(weights), coarse)
    ys = (torch.arange(height, device=fine.device, dtype=torch.float32) + 0.5) / height
    xs = (torch.arange(width, device=fine.device, dtype=torch.float32) + 0.5) / width
    # Sums along one axis after the other, not a matrix product, which autocast would round to half a pixel.
    coordinates = torch.stack([(weights.sum(-2) * xs).sum(-1), (weights.sum(-1) * ys).sum(-1)], -1)
    return queries, coordinates, logits


def weighted_mean(weights: Tensor, cells: Tensor) -> Tensor:
    """(B, L, C) means of a map (B, C, H, W) by weights (B, L, H * W)."""
    return weights.to(cells.dtype) @ cells.flatten(2).transpose(1, 2)


def block_sums(weights: Tensor) -> Tensor:
    """(B, L, H * W / 4) sums over blocks of two by two cells: as matrix products, since runtimes pool floats slowly."""
    height, width = weights.shape[2:]
    pairs = torch.eye(width // 2, device=weights.device)
    columns = weights @ pairs.repeat_interleave(2, 0)  # (B, L, H, W / 2)
    return (columns.reshape(*weights.shape[:2], height // 2, width) @ pairs.repeat(2, 1)).flatten(2)


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
        self.feed_forward = mlp(dim, config.hidden, dim)
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


class PointLayer(nn.Module):
    """One refinement of each query by itself, from its place and its image-agnostic encoding."""

    def __init__(self, config: UdfldConfig) -> None:
        super().__init__()
        dim = config.dim
        self.identity = Linear(dim, dim)
        self.feed_forward = mlp(dim, config.hidden, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.offset = Linear(dim, 2)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(
        self, queries: Tensor, place: Tensor, agnostic: Tensor, points: Tensor, maps: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        queries = self.norms[0](queries + place + self.identity(agnostic))
        queries = self.norms[1](queries + self.feed_forward(queries))
        return queries, self.offset(queries)


NEGLIGIBLE = 60.0
"""Difference to the largest score at which a weight is negligible: exp(-60) is 1e-26."""


class Attention(nn.Module):
    """Multi-head attention with separate queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (Linear(dim, dim) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        # Written out: for a hundred short queries it trains about three times as fast on a CPU as the fused kernel.
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if not self.training:
            # Some heads give one point all the weight and the others denormal numbers, with which a processor takes ten times
            # as long: clamp scores so that weights stay normal numbers.
            scores = torch.maximum(scores, scores.amax(-1, keepdim=True) - NEGLIGIBLE)
        weights = scores.softmax(-1)
        out: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, dim / heads)


class DeformableAttention(nn.Module):
    """Each head of each query samples a few locations of every map around the query's coordinates."""

    def __init__(self, dim: int, heads: int, levels: int, samples: int) -> None:
        super().__init__()
        self.heads, self.levels, self.samples = heads, levels, samples
        self.offsets = Linear(dim, heads * levels * samples * 2)
        self.weights = Linear(dim, heads * levels * samples)
        self.out = Linear(dim, dim)
        nn.init.zeros_(self.offsets.weight)
        # Heads start in different directions, samples at growing distances, in cells of each map.
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
            sampled = functional.grid_sample(
                features.reshape(batch * self.heads, -1, *features.shape[2:]).float(), where, align_corners=False
            )  # (B * heads, dim / heads, L, S)
            mixed = mixed + (sampled * share).sum(-1)
        out: Tensor = self.out(mixed.view(batch, -1, count).transpose(1, 2))
        return out

    def _places(self, queries: Tensor, points: Tensor, maps: list[Tensor]) -> Tensor:
        """(levels, B * heads, L, S, 2) sampling locations on each map, from -1 to 1 across it.

        The scaling from cells to a map's size is folded into the layer's weights, and the points are added as two more of
        its inputs: as separate operations on so many short rows both would cost more than the layer.
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
    """A linear layer on flattened rows: a runtime computes a matrix product with bias in one step, more dimensions in two."""

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = super().forward(rows.flatten(0, -2)).unflatten(0, rows.shape[:-1])
        return out


def mlp(inside: int, hidden: int, outside: int) -> nn.Sequential:
    """Two linear layers with a ReLU between."""
    return nn.Sequential(Linear(inside, hidden), nn.ReLU(inplace=True), Linear(hidden, outside))
