"""Reference Heatmap Transformer (Wan et al.): the heatmaps of a reference face with known landmarks guide those of a crop.

A backbone with a transformer encoder (as in TransPose) processes the crop. Beside it, crop, reference face and the
reference's heatmaps go through small feature extractors at three scales. The soft transformation takes, for each cell of the
crop, the reference's heatmap features from the most similar cell, weighted by the similarity. The hard transformation moves
them as a whole by an affine map. Fusion blocks add both to the crop's features at each scale of the decoder, which gives
heatmaps of landmarks and of the face's boundaries.

The affine map learns from three losses: that of the heatmaps, equation 8, and the distance of the reference's landmarks from
those that the map says they are. Equation 8 trains nothing else: values that vanish, or matches without any similarity, would
make it small as well.

In training another face of the batch is the reference. Afterwards it comes from a small set stored with the weights;
`reference` says how it is chosen. An exported graph always uses the neutral one, since SIFT cannot be exported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.data.store import FaceStore, plain_faces
from vtrack.errors import ModelError
from vtrack.models.backbones.blocks import constant, conv_norm
from vtrack.models.backbones.encoder import EncoderLayer, cell_code
from vtrack.models.backbones.local import LocalFeatures
from vtrack.models.backbones.registry import build_backbone, normalise
from vtrack.models.decoding import heatmaps as hm
from vtrack.models.decoding.outline import Outline
from vtrack.models.decoding.registry import DECODERS, decode
from vtrack.models.systems.base import (
    LabelledBatch,
    LayoutConfig,
    LayoutSystem,
    SigmaFromSpread,
    full_precision,
    in_full_precision,
)
from vtrack.models.systems.output import Output
from vtrack.models.systems.reference_faces import CHOICES, ReferenceFaces, representatives


@dataclass(frozen=True)
class RhtConfig(LayoutConfig):
    """The paper's RHT-R, with the options of its ablations. RHT-H has the backbone hrnet-w48 and heads 1,
    RHT-HG hourglass and heads 1, RHT-4HG hourglass4."""

    backbone: str = "resnet50"
    widths: tuple[int, ...] = (256, 128, 64)
    """Channels at an eighth, a quarter and half of the crop's resolution."""
    encoder: bool = True
    """The transformer encoder on the backbone."""
    encoder_layers: int = 4
    heads: int = 8
    hidden: int = 1024
    """Width inside the encoder's feed-forward blocks."""
    soft: bool = True
    hard: bool = True
    """Use the soft and the hard transformation."""
    multiscale: bool = True
    """Fuse at all three scales instead of the coarsest alone."""
    boundaries: bool = True
    even: bool = True
    """A boundary weighs as much as a landmark in the loss, however many cells it has; equation 7 (`no`) sums over its cells."""
    balance: float = 0.1
    """Lambda of equation 9: weight of the disagreement of both transformations."""
    guidance: float = 10.0
    """Weight of the distance, in cells, between the reference's landmarks and the crop's moved by the affine map. Not in the
    paper: 0."""
    deviation: float = 1.0
    """How far an entry of the affine map can be from that of the identity; 0 for any distance, as in the paper."""
    rim: str = "nearest"
    """What the affine map finds outside the reference: its `nearest` cell, or `zeros`."""
    patch: int = 3
    """Side of the compared patches in cells."""
    references: int = 16
    """Number of faces stored with the weights."""
    reference_size: int = 128
    """Side in pixels at which they are stored and compared with a crop. On 32 pixels SIFT finds hardly anything to compare."""
    reference: str = "sift"
    coarse_reference: int = 1
    """Factor by which the reference is downsampled (table VII)."""
    sigma: float = 2.0
    decoder: str = "two-hot"
    kernel: int = 2
    beyond: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON knows lists only
        self.check_choice("reference", *CHOICES)
        self.check_choice("decoder", *DECODERS)
        self.check_choice("rim", *_PADDING)
        if len(self.widths) != 3 or self.input_size % 16:
            raise ModelError(
                f"rht needs three widths and crops of a multiple of 16, not {self.widths}, {self.input_size}"
            )
        encoded = self.widths[2 if self.fine else 0]
        if self.encoder and (encoded % 4 or encoded % self.heads):
            raise ModelError(
                f"the encoder's width must be a multiple of 4 and of heads, not {encoded} with {self.heads}"
            )
        if self.patch % 2 == 0:
            raise ModelError(f"patch must be odd, not {self.patch}")

    @property
    def fine(self) -> bool:
        """Whether the encoder works on the backbone's finest map, as in TransPose-H, and not on one of half its size."""
        return self.backbone.startswith(("hrnet", "hourglass"))


@dataclass(frozen=True)
class RhtFeatures:
    """Heatmaps of a batch of crops."""

    heatmaps: Tensor
    """(B, L, n, n) of landmarks"""
    boundaries: Tensor
    """(B, P, n, n) of parts"""
    disagreement: Tensor
    """Equation 8: between the two transformations, summed over a map's cells; 0 outside training."""
    distance: Tensor
    """Between the reference's landmarks and where the affine map finds them, in cells; 0 outside training."""
    presence: Tensor
    """(B,) logit"""
    labels: Tensor | None
    """(B, L + P, n, n) target heatmaps of landmarks and boundaries, in training only: they are drawn once and serve as the
    references' heatmaps too."""


@dataclass(frozen=True)
class Reference:
    """Another face for each crop of a batch."""

    images: Tensor
    """(B, 3, s, s) normalised"""
    heatmaps: Tensor
    """(B, L + P, s, s)"""
    chosen: Tensor
    """(B,) which of the batch, or of the stored faces."""


class Rht(LayoutSystem):
    """Trained by mean squared error on heatmaps of landmarks and boundaries, and by the losses of the affine map."""

    config: RhtConfig

    def __init__(self, config: RhtConfig) -> None:
        # As in TransPose: a ResNet's maps down to an eighth, an HRNet's first three stages, an hourglass's finest map.
        fine = config.fine
        super().__init__(config, build_backbone(config.backbone, levels=3 if fine else 2))
        taken, dim = (0, config.widths[2]) if fine else (1, config.widths[0])
        self.taken = taken
        self.reduce = nn.Conv2d(self.backbone.channels[taken], dim, 1)
        layers = config.encoder_layers if config.encoder else 0
        self.encoder = nn.ModuleList(EncoderLayer(dim, config.heads, config.hidden) for _ in range(layers))
        self.bring = conv_norm(dim, config.widths[0], stride=2) if fine else nn.Identity()
        self.outline = Outline(self.layout)
        self.references = ReferenceFaces(config.references, config.reference_size, len(self.layout))
        count = len(self.layout) + (self.outline.count if config.boundaries else 0)
        if config.soft or config.hard:
            self.image_features = LocalFeatures(3, config.widths)
            self.heatmap_features = LocalFeatures(count, config.widths)
        if config.hard:
            self.localise = Localisation(2 * config.widths[0], deviation=config.deviation)
        sources = config.soft + config.hard
        scales = (3 if config.multiscale else 1) if sources else 0
        self.fusions = nn.ModuleList(Fusion(width, sources) for width in config.widths[:scales])
        self.rises = nn.ModuleList(
            Upsample(inside, outside) for inside, outside in zip(config.widths, config.widths[1:], strict=False)
        )
        self.out = nn.Conv2d(config.widths[2], count, 1)
        nn.init.normal_(self.out.weight, std=0.001)
        self.doubt = SigmaFromSpread(len(self.layout))

    def prepare(self, stores: Sequence[FaceStore]) -> None:
        super().prepare(stores)
        store, config = stores[0], self.config
        faces = np.array(representatives(store.points, config.references))
        images, points, _ = plain_faces(store, faces, config.reference_size, config.margin)
        self.references.images.copy_(torch.from_numpy(images))
        self.references.points.copy_(torch.from_numpy(points.astype(np.float32)))

    def extract_features(self, crops: Tensor, truth: LabelledBatch | None = None) -> RhtFeatures:
        config = self.config
        maps = self.backbone(normalise(crops).contiguous(memory_format=torch.channels_last))
        x = self.reduce(maps[self.taken])
        if config.encoder:
            x = self._encoded(x)
        x = self.bring(x)
        labels = None if truth is None else self._drawn(truth.targets)
        transformed, disagreement, distance = self._transformed(crops, truth, labels)
        for scale in range(3):
            if scale < len(self.fusions):
                x = self.fusions[scale](x, [source[scale] for source in transformed])
            if scale < 2:
                x = self.rises[scale](x)
        heatmaps = in_full_precision(self.out, x)
        # Split, not sliced: the gradient of each slice would be a full map of zeros, filled and added.
        landmarks, boundaries = heatmaps.split([len(self.layout), heatmaps.shape[1] - len(self.layout)], 1)
        return RhtFeatures(landmarks, boundaries, disagreement, distance, self.presence(maps[-1]), labels)

    def _drawn(self, points: Tensor) -> Tensor:
        """(B, L + P, n, n) heatmaps of landmarks, and of boundaries if there are any, from points (B, L, 2)."""
        size, sigma = self.config.input_size // 2, self.config.sigma
        heatmaps = hm.encode(points, size, sigma)
        return torch.cat([heatmaps, self.outline(points, size, sigma)], 1) if self.config.boundaries else heatmaps

    def _encoded(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        tokens, places = x.flatten(2).transpose(1, 2), cell_code(rows, columns, x.shape[1]).to(x.device)
        for layer in self.encoder:
            tokens = layer(tokens, places)
        return tokens.transpose(1, 2).unflatten(2, (rows, columns))

    def _transformed(
        self, crops: Tensor, truth: LabelledBatch | None, labels: Tensor | None
    ) -> tuple[list[list[Tensor]], Tensor, Tensor]:
        """The reference's transformed heatmap features, three scales for each transformation, their disagreement, and the
        distance of the affine map from the landmarks' own."""
        config = self.config
        nothing = torch.zeros((), device=crops.device)
        if not (config.soft or config.hard):
            return [], nothing, nothing
        reference = self._reference(crops, truth, labels)
        target = functional.avg_pool2d(normalise(crops), 2)
        query, key = self.image_features(target)[0], self.image_features(reference.images)[0]
        values = self.heatmap_features(reference.heatmaps)
        matches, similarity = compare(query, key, config.patch)
        soft = [take(value, matches, similarity) for value in values] if config.soft else []
        if not config.hard:
            return [soft], nothing, nothing
        affine = self.localise(torch.cat([query, key], 1))
        hard = [move(value, affine, config.rim) for value in values]
        with full_precision(crops):
            distance = nothing if truth is None else self._distance(affine, truth, reference.chosen)
            if not config.soft:
                return [hard], nothing, distance
            if truth is None:
                return [soft, hard], nothing, nothing
            return [soft, hard], self._disagreement(values, soft, similarity, affine, truth.is_face), distance

    def _disagreement(
        self, values: list[Tensor], soft: list[Tensor], similarity: Tensor, affine: Tensor, is_face: Tensor
    ) -> Tensor:
        """Equation 8, which trains the affine map only.

        Summed over the cells of a map as the losses of the heatmaps are, a mean over channels, scales and faces.
        """
        fixed, gaps = similarity.detach().float(), []
        for value, by_soft in zip(values, soft, strict=True):
            by_hard = move(value.detach(), affine, self.config.rim) * enlarged(fixed, value.shape[2])
            gaps.append((by_hard - by_soft.detach().float()).abs().mean((1, 2, 3)))
        away = torch.stack(gaps).mean(0) * is_face  # (B,)
        return away.sum() / is_face.sum().clamp(min=1) * (self.config.input_size // 2) ** 2

    def _distance(self, affine: Tensor, truth: LabelledBatch, chosen: Tensor) -> Tensor:
        """Distance, in cells, between the reference's landmarks and those of the crop moved by the affine map."""
        if not self.training:
            return torch.zeros((), device=affine.device)
        points, known = truth.targets * 2 - 1, truth.known & truth.known[chosen]
        moved = points @ affine[:, :, :2].transpose(1, 2) + affine[:, None, :, 2]
        away = (moved - points[chosen]).abs().sum(-1) * (self.config.input_size // 4)
        return (away * known).sum() / known.sum().clamp(min=1)

    def _reference(self, crops: Tensor, truth: LabelledBatch | None, labels: Tensor | None) -> Reference:
        """A reference face for each crop."""
        size = self.config.input_size // 2
        if self.training and truth is not None and labels is not None:
            faces = truth.is_face.nonzero()[:, 0]
            shift = int(torch.randint(1, max(len(faces), 2), ()))
            chosen = faces[(torch.arange(len(crops), device=crops.device) + shift) % len(faces)]
            images, heatmaps = functional.avg_pool2d(normalise(crops[chosen]), 2), labels[chosen]
        else:
            # SIFT cannot be exported.
            how = "neutral" if torch.compiler.is_compiling() else self.config.reference
            chosen = self.references.choose(crops, how)
            images, heatmaps = self.references.resized(size)[chosen], self._drawn(self.references.points[chosen])
        if self.config.coarse_reference > 1:
            small = functional.interpolate(
                images, size=size // self.config.coarse_reference, mode="bicubic", antialias=True
            )
            images = functional.interpolate(small, size=size, mode="bicubic")
        return Reference(images, heatmaps, chosen)

    def decode(self, features: RhtFeatures) -> Output:
        config = self.config
        heatmaps = features.heatmaps.detach()  # decoding is not trained through
        points = decode(heatmaps, config.decoder, sigma=config.sigma, kernel=config.kernel, beyond=config.beyond)
        return Output([points], self.doubt(hm.spread(heatmaps, points, config.sigma)), features.presence)

    def loss_terms(self, features: RhtFeatures, output: Output, batch: LabelledBatch) -> dict[str, Tensor]:
        config, known = self.config, batch.known
        assert features.labels is not None
        landmarks, lines = features.labels.tensor_split([len(self.layout)], 1)
        squares = ((features.heatmaps - landmarks) ** 2).sum((-2, -1))
        losses = {"heatmap": (squares * known).sum() / known.sum().clamp(min=1)}
        if config.boundaries:
            whole = known.all(1)  # a missing point would bend the boundary
            gaps = ((features.boundaries - lines) ** 2).sum((-2, -1))
            if config.even:
                of_landmark = math.pi * config.sigma**2  # the sum of the squares of a landmark's label
                gaps = gaps * of_landmark / (lines**2).sum((-2, -1)).clamp(min=of_landmark)
            losses["boundary"] = (gaps.mean(1) * whole).sum() / whole.sum().clamp(min=1)
        if config.soft and config.hard and config.balance:
            losses["agreement"] = config.balance * features.disagreement
        if config.hard and config.guidance:
            losses["affine"] = config.guidance * features.distance
        return losses


def compare(query: Tensor, key: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Equations 1 and 2: index of the most similar cell of the key (B, C, h, w) for each cell of the query, (B, h * w), and
    their similarity (B, 1, h, w): the inner product of the patches around them, each normalised to length 1."""
    queries, keys = (
        functional.normalize(functional.unfold(x, patch, padding=patch // 2), dim=1) for x in (query, key)
    )  # (B, C * patch^2, h * w)
    similarity, matches = (queries.transpose(1, 2) @ keys).max(-1)
    return matches, similarity.unflatten(1, query.shape[2:])[:, None]


def take(values: Tensor, matches: Tensor, similarity: Tensor) -> Tensor:
    """Equation 3: values (B, C, H, W) gathered from the matched cells, times the similarity.

    Matches are cells of the coarsest scale; from finer maps the whole block of cells under one is gathered.
    """
    blocks = values.shape[2] // similarity.shape[2]
    cells = functional.pixel_unshuffle(values, blocks)  # (B, C * blocks^2, h, w)
    taken = cells.flatten(2).gather(2, matches[:, None].expand(-1, cells.shape[1], -1)).unflatten(2, cells.shape[2:])
    return functional.pixel_shuffle(taken * similarity, blocks)


def enlarged(similarity: Tensor, size: int) -> Tensor:
    """(B, 1, size, size) the similarity, enlarged."""
    return functional.interpolate(similarity, size=(size, size), mode="nearest")


class Localisation(nn.Module):
    """A spatial transformer's network: six numbers of an affine map (B, 2, 3) from features of both faces."""

    def __init__(self, inside: int, width: int = 64, deviation: float = 1.0) -> None:
        super().__init__()
        self.deviation = deviation
        self.look = nn.Sequential(
            conv_norm(inside, width, stride=2), conv_norm(width, width, stride=2), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.tell = nn.Sequential(nn.Linear(16 * width, width), nn.ReLU(inplace=True), nn.Linear(width, 6))
        last = self.tell[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        last.bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0])  # the identity at first

    def forward(self, x: Tensor) -> Tensor:
        out = self.tell(self.look(x)).float()
        if self.deviation:
            # Without a bound the map grows until all cells come from outside the reference, where nothing can disturb.
            identity = constant([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], out.device)
            out = identity + self.deviation * torch.tanh((out - identity) / self.deviation)
        affine: Tensor = out.unflatten(1, (2, 3))
        return affine


_PADDING = {"nearest": "border", "zeros": "zeros"}


def move(values: Tensor, affine: Tensor, rim: str = "nearest") -> Tensor:
    """Equation 4: values (B, C, h, w) sampled on a regular grid transformed by affine maps (B, 2, 3)."""
    grid = functional.affine_grid(affine, list(values.shape), align_corners=False)
    return functional.grid_sample(values.float(), grid, align_corners=False, padding_mode=_PADDING[rim])


class Fusion(nn.Module):
    """Equation 5: the crop's features, plus a convolution of them with the transformed ones."""

    def __init__(self, width: int, sources: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width * (1 + sources), width, 3, padding=1)

    def forward(self, x: Tensor, transformed: list[Tensor]) -> Tensor:
        out: Tensor = x + self.conv(torch.cat([*transformed, x], 1))
        return out


class Upsample(nn.Module):
    """Equation 6: a transposed convolution to the next scale."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))
