"""Landmarks as a graph with learned connectivity (Nguyen et al.): a heatmap model, then three graph convolutions.

A heatmap model, trained by focal loss, gives a first location and a confidence for each landmark. Each landmark becomes a
node with the image features at its location and the location itself. Messages between nodes are weighted by edges that
depend on the two landmarks' types and confidences, so that hidden landmarks rely on visible ones. The last graph convolution
gives the final locations.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.errors import ModelError
from vtrack.layouts import Layout
from vtrack.models.decoding import heatmaps as hm
from vtrack.models.decoding.registry import decode
from vtrack.models.systems.base import LabelledBatch, full_precision
from vtrack.models.systems.heatmap import Heatmap, HeatmapConfig, HeatmapFeatures
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class GcnConfig(HeatmapConfig):
    """The paper's network, with the options of its ablations."""

    decoder: str = "two-hot"
    hidden: tuple[int, ...] = (64, 16, 2)
    """Widths of the graph convolutions; the last are the coordinates."""
    visual: int = 64
    """Width of a landmark's visual features."""
    classes: int = 32
    """Width of the embedding of a pair of landmark types."""
    connectivity: str = "learned"
    """`learned`: from types and confidences. `shared`: one learned matrix for all faces, as in the work that table 3 compares
    with. `parts`: fixed, equal weights among the landmarks of a part. `none`: a control without a graph, where a landmark has
    its own features only."""
    predicts: str = "offsets"
    """Whether the last graph convolution gives `offsets` from the heatmaps' points, or `coordinates` as the paper says.
    `constant`: a control without features or a graph, one learned offset for each landmark."""
    alpha: float = 2.0
    beta: float = 4.0
    """Exponents of the focal loss, equation 8."""
    heatmap_weight: float = 1.0
    graph_weight: float = 1.0
    """Weights of the two losses: lambda 2 and 1 of equation 9."""
    frozen: bool = False
    """Train the graph alone, on a trained heatmap model (`vtrack train --start RUN`)."""
    backbone_rate: float = 0.1
    """Learning rate of the heatmap model as a factor of the graph's: 1e-4 to 1e-3 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON knows lists only
        self.check_choice("connectivity", *_CONNECTIVITY)
        self.check_choice("predicts", "offsets", "coordinates", "constant")
        if not self.hidden or self.hidden[-1] != 2:
            raise ModelError(
                f"the last graph convolution gives 2 coordinates, so hidden must end in 2, not {self.hidden}"
            )


@dataclass(frozen=True)
class GcnFeatures:
    """Heatmaps, graph and points of a batch of crops."""

    heatmap: HeatmapFeatures
    """Its heatmaps are logits."""
    first: Tensor
    """(B, L, 2) points decoded from the heatmaps."""
    edges: Tensor
    """(B, L, L) weight of each other landmark (columns) for a landmark (rows); rows sum to 1. Without a graph, a landmark's
    only neighbour is itself."""
    points: Tensor
    """(B, L, 2) points given by the graph."""


class Gcn(Heatmap):
    """A heatmap model with a graph network, trained by focal loss on heatmaps and L1 loss on the graph's points."""

    config: GcnConfig

    def __init__(self, config: GcnConfig) -> None:
        super().__init__(config)
        # Few cells hold a landmark: start with a probability of 1 %.
        nn.init.constant_(self.out.bias, -4.6)  # type: ignore[arg-type]
        if config.predicts == "constant":
            self.offsets = nn.Parameter(torch.zeros(len(self.layout), 2))
        else:
            self.embed = nn.Sequential(nn.Linear(self.neck.width, config.visual), nn.ReLU(inplace=True))
            self.connect = _CONNECTIVITY[config.connectivity](self.layout, config.classes)
            widths = (config.visual + 2, *config.hidden)
            self.blocks = nn.ModuleList(GraphConvolution(inside, outside) for inside, outside in pairwise(widths))
        if config.predicts == "offsets":
            self.blocks[-1].start_near_zero()  # type: ignore[operator]
        if config.frozen:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(not name.startswith(_HEATMAP))

    def train(self, mode: bool = True) -> Gcn:
        super().train(mode)
        if self.config.frozen:  # keep the statistics of its batch norms too
            self.backbone.eval()
            self.neck.eval()
        return self

    def rate_of(self, parameter: str) -> float:
        return self.config.backbone_rate if parameter.startswith(_HEATMAP) else 1.0

    def extract_features(self, crops: Tensor, truth: LabelledBatch | None = None) -> GcnFeatures:  # type: ignore[override]
        features = super().extract_features(crops)
        with full_precision(crops):
            responses = features.heatmaps.sigmoid()
            config = self.config
            first = decode(responses, config.decoder, sigma=config.sigma, kernel=config.kernel)
            if config.predicts == "constant":
                edges = _to_themselves(len(self.layout), first.device).expand(len(first), -1, -1)
                return GcnFeatures(features, first, edges, first + self.offsets)
            confidence = responses.flatten(2).amax(-1)
            under = functional.grid_sample(
                features.maps.float(), first[:, :, None] * 2 - 1, padding_mode="border", align_corners=False
            )  # (B, C, L, 1)
            nodes = torch.cat([first - 0.5, self.embed(under[..., 0].transpose(1, 2))], -1)
            edges = self.connect(confidence)
            for place, block in enumerate(self.blocks):
                nodes = block(nodes, first, edges)
                if place < len(self.blocks) - 1:
                    nodes = functional.relu(nodes)
            points = first + nodes if config.predicts == "offsets" else nodes + 0.5
        return GcnFeatures(features, first, edges, points)

    def decode(self, features: GcnFeatures) -> Output:  # type: ignore[override]
        spread = hm.spread(features.heatmap.heatmaps.sigmoid(), features.points, self.config.sigma)
        return Output([features.first, features.points], self.doubt(spread), features.heatmap.presence)

    def loss_terms(self, features: GcnFeatures, output: Output, batch: LabelledBatch) -> dict[str, Tensor]:  # type: ignore[override]
        config, known = self.config, batch.known
        count = known.sum().clamp(min=1)
        # Equation 8 needs a cell whose label is 1, so the labels' peaks are on cells.
        labels = hm.encode(batch.targets, config.resolution, config.sigma, biased=True)
        focal = focal_loss(features.heatmap.heatmaps, labels, config.alpha, config.beta).sum((-2, -1))
        away = (features.points - batch.targets).abs().sum(-1) * config.resolution  # in cells
        return {
            "heatmap": config.heatmap_weight * (focal * known).sum() / count,
            "graph": config.graph_weight * (away * known).sum() / count,
        }


_HEATMAP = ("backbone.", "neck.", "out.", "presence_head.")


def focal_loss(logits: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """Equation 8, cell by cell: hard cells count more, cells near a landmark less."""
    chance = logits.sigmoid()
    hit = (1 - chance) ** alpha * functional.softplus(-logits)
    miss = (1 - labels) ** beta * chance**alpha * functional.softplus(logits)
    return torch.where(labels > 1 - 1e-4, hit, miss)


class GraphConvolution(nn.Module):
    """Equation 4: a node's own state, plus the weighted states and displacements of the other nodes."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.own = nn.Linear(inside, outside)
        self.heard = nn.Linear(inside + 2, outside, bias=False)

    def forward(self, nodes: Tensor, places: Tensor, edges: Tensor) -> Tensor:
        # Rows of edges sum to 1, so the mean displacement p_i - p_j is p_i less the mean of p_j.
        messages = torch.cat([edges @ nodes, places - edges @ places], -1)
        out: Tensor = self.own(nodes) + self.heard(messages)
        return out

    def start_near_zero(self) -> None:
        """Initialise so that the output is nearly 0."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=1e-4)


class LearnedConnectivity(nn.Module):
    """Equations 5 and 6: edges from the types of two landmarks and their confidences in the heatmaps."""

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        count = len(layout)
        # A linear layer on two concatenated one-hot codes is the sum of a row from each of two tables.
        self.listener = nn.Parameter(torch.randn(count, width) * 0.1)
        self.speaker = nn.Parameter(torch.randn(count, width) * 0.1)
        self.pair = nn.Sequential(nn.ReLU(), nn.Linear(width, width))
        self.edge = nn.Sequential(nn.Linear(2 + width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, confidence: Tensor) -> Tensor:
        """(B, L, L) from confidences (B, L)."""
        batch, count = confidence.shape
        pairs = self.pair(self.listener[:, None] + self.speaker[None]).expand(batch, -1, -1, -1)
        confidences = torch.stack(
            [confidence[:, :, None].expand(-1, -1, count), confidence[:, None].expand(-1, count, -1)], -1
        )
        return _among_others(self.edge(torch.cat([confidences, pairs], -1))[..., 0])


class SharedConnectivity(nn.Module):
    """One learned matrix, the same for every face."""

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        self.edges = nn.Parameter(torch.zeros(len(layout), len(layout)))

    def forward(self, confidence: Tensor) -> Tensor:
        return _among_others(self.edges).expand(confidence.shape[0], -1, -1)


class PartsConnectivity(nn.Module):
    """Equal weights among the landmarks of a part; a landmark that is alone on its part is connected to all."""

    edges: Tensor

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        names = sorted(set(layout.query.parts))
        part = torch.tensor([names.index(name) for name in layout.query.parts])
        together = part[:, None] == part[None]
        together[together.sum(1) == 1] = True
        self.register_buffer("edges", _among_others(torch.where(together, 0.0, -1e4)), persistent=False)

    def forward(self, confidence: Tensor) -> Tensor:
        return self.edges.expand(confidence.shape[0], -1, -1)


class NoConnectivity(nn.Module):
    """Every landmark is connected to itself alone, so that a message has nothing that its own state has not."""

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        self.count = len(layout)

    def forward(self, confidence: Tensor) -> Tensor:
        return _to_themselves(self.count, confidence.device).expand(confidence.shape[0], -1, -1)


def _to_themselves(count: int, device: torch.device) -> Tensor:
    return torch.eye(count, device=device)


def _among_others(edges: Tensor) -> Tensor:
    """Softmax over the other landmarks; a node's own state enters separately."""
    itself = torch.eye(edges.shape[-1], dtype=torch.bool, device=edges.device)
    return edges.masked_fill(itself, -1e9).softmax(-1)


_CONNECTIVITY: dict[str, type[LearnedConnectivity | SharedConnectivity | PartsConnectivity | NoConnectivity]] = {
    "learned": LearnedConnectivity,
    "shared": SharedConnectivity,
    "parts": PartsConnectivity,
    "none": NoConnectivity,
}
