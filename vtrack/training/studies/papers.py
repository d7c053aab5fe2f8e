"""The tables of the papers as networks to train and evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class ComparisonRow:
    """One row of a table: a network, trained once for each seed, evaluated in one or more ways."""

    name: str
    system: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the system that differ from the defaults."""
    start: str = ""
    """The run whose weights it starts from."""
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"NME": {}})
    """How each column is evaluated: options that are changed after training, `as` for another system that decodes the network,
    `shrink` or `occluded` for the faces, `outside` for the points outside the crop alone, and `references` for reference
    faces of another data set."""

    @property
    def run(self) -> str:
        """Folder of the run: rows of the same network share it."""
        options = "_".join(f"{option}-{word(value)}" for option, value in sorted(self.options.items()))
        return "_".join(part for part in (self.system, options, f"from-{self.start}" if self.start else "") if part)


NOT_SHOWABLE: dict[str, str] = {
    "all tables on WFLW, COFW, AFLW and COCO-WholeBody": "these sets are not at hand",
    "gv, table 9 (post-processing on an embedded chip)": "needs that chip",
}
"""What no command here can show, and why."""

CONFIG_KEYS = ("as", "shrink", "occluded", "outside", "references")
"""Keys of a column that are not options of the system."""

SCHEDULES: dict[str, str] = {
    "udfld": "steps:0.78",  # a tenth from the 25th of 32 epochs
    "gcn": "steps:0.0625",  # the graph: 1e-3 for 2 epochs, 1e-4 for 30
    "rht": "cosine:0.1",  # 1e-4 to 1e-5
    "keyposs": "linear:0.005",  # 2e-3 to 1e-5
}
"""How the learning rate falls as the papers state it, by system; gv's does not say."""

CROSS_DATA = "rht-cross-data"
"""The table that needs another data set, for reference faces."""

RHT_BACKBONES = {  # table V: baseline, RHT
    "resnet50": (3.43, 2.82),
    "hourglass": (3.39, 2.83),
    "hourglass4": (3.38, 2.79),
    "hrnet-w32": (3.35, 2.77),
    "hrnet-w48": (3.32, 2.74),
}


def word(value: Any) -> str:
    """An option's value in a name."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


MAPS = {"neck": "pyramid", "dim": 64}
CLEAN_AND_OCCLUDED: dict[str, dict[str, Any]] = {"clean": {}, "occluded": {"occluded": True}}
WIDTHS = ((1,), (3,), (5,), (7,), (1, 3), (1, 5), (1, 7), (3, 5), (3, 7), (5, 7))


def _with_options(columns: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The columns with these options added to each."""
    return {name: {**column, **options} for name, column in columns.items()}


def tables(size: int) -> dict[str, list[ComparisonRow]]:
    """Every table, for crops of `size` pixels."""
    return {**_systems(size), **_keyposs(size), **_gv(size), **_gcn(size), **_rht(size)}


def _maps(size: int) -> dict[str, Any]:
    return MAPS | {"resolution": size // 4}


# As wide at the finest scale as the other systems' maps: with 16 channels for 68 heatmaps the error hardly fell.
_RHT = {"widths": (64, 64, 64), "heads": 4, "hidden": 128}
# `keyposs` and the plain heatmap model are one network, and `beyond` only changes decoding, so each is trained once.
_AWARE = {"as": "heatmap", "decoder": "distribution-aware"}


def _systems(size: int) -> dict[str, list[ComparisonRow]]:
    """All systems on the same crops, trained alike: the graph's heatmap model at the rate of the others."""
    maps = _maps(size)
    return {
        "systems": [
            ComparisonRow("regression", "regression"),
            ComparisonRow("heatmap, distribution-aware", "keyposs", maps, columns={"NME": _AWARE}),
            ComparisonRow("gcn", "gcn", maps | {"backbone_rate": 1.0}),
            ComparisonRow("rht", "rht", _RHT),
            ComparisonRow("keyposs", "keyposs", maps),
            ComparisonRow("gv", "gv", maps | {"margin": 1.25}),
            ComparisonRow("udfld", "udfld"),
        ]
    }


def resolutions(size: int) -> list[int]:
    """Sides of the heatmaps of a crop, down to 4 cells."""
    return [size // 4 >> step for step in range(5) if size // 4 >> step >= 4]


def _keyposs(size: int) -> dict[str, list[ComparisonRow]]:
    """KeyPosS, tables 4 and 5, and equation 15."""
    kernels = {
        resolution: [kernel for kernel in range(2, 7) if kernel <= resolution] for resolution in resolutions(size)
    }
    return {
        "keyposs": [
            ComparisonRow(
                f"{resolution} x {resolution}",
                "keyposs",
                MAPS | {"resolution": resolution} | encoding,
                columns={f"{name} ({encoding.get('encoding', 'unbiased')})": {"decoder": name} for name in names},
            )
            for resolution in resolutions(size)
            for encoding, names in (
                ({"encoding": "biased"}, ("one-hot", "two-hot", "keyposs")),
                ({}, ("distribution-aware", "keyposs")),
            )
        ],
        "keyposs-kernels": [
            ComparisonRow(
                f"{resolution} x {resolution}",
                "keyposs",
                MAPS | {"resolution": resolution},
                columns={f"{kernel} x {kernel}": {"kernel": kernel} for kernel in kernels[resolution]},
            )
            for resolution in resolutions(size)
        ],
        "keyposs-equation-15": [
            ComparisonRow("mean squared error", "keyposs", _maps(size)),
            ComparisonRow("and equation 15", "keyposs", _maps(size) | {"coordinates": 1.0}),
        ],
    }


def _gv(size: int) -> dict[str, list[ComparisonRow]]:
    """Gaussian Vector, tables 5 to 8: crops as large as the face box, as the paper's on 300W, and labels alike."""
    maps = _maps(size) | {"margin": 1.0}
    shrunk: dict[str, dict[str, Any]] = {
        "original box": {},
        "shrunk 10 %": {"shrink": 0.1},
        "shrunk 30 %": {"shrink": 0.3},
        "shrunk 30 %, points outside": {"shrink": 0.3, "outside": True},
    }
    plain = _with_options(shrunk, {"beyond": False})
    rows = []
    for encoding, decoder in (("biased", "two-hot"), ("unbiased", "distribution-aware")):
        labels = {} if encoding == "unbiased" else {"encoding": encoding}
        ours = {} if encoding == "biased" else {"encoding": encoding}
        read = _with_options(shrunk, {"as": "heatmap", "decoder": decoder})
        rows += [
            ComparisonRow(f"heatmap, {encoding}", "keyposs", maps | labels, columns=read),
            ComparisonRow(f"gv, {encoding}", "gv", maps | ours, columns=plain),
            ComparisonRow(f"gv, {encoding}, Beyond Box", "gv", maps | ours, columns=shrunk),
        ]
    zeros = maps | {"padding": "zeros"}
    rows += [
        ComparisonRow("gv, zeros counted", "gv", zeros, columns=plain),
        ComparisonRow("gv, zeros counted, Beyond Box", "gv", zeros, columns=shrunk),
    ]
    return {
        "gv": rows,
        "gv-theta": [
            ComparisonRow(f"theta {theta}", "gv", maps if theta == 3 else maps | {"theta": float(theta)})
            for theta in range(5)
        ],
        "gv-bandwidths": [
            ComparisonRow(f"l = {word(widths)}", "gv", maps if widths == (3, 5) else maps | {"bandwidths": widths})
            for widths in WIDTHS
        ],
        "gv-beyond": [
            ComparisonRow(
                f"tau {tau}",
                "gv",
                maps,
                columns={
                    f"sigma {s}": {"tau": tau, "beyond_sigma": s, "shrink": 0.1} for s in (1.0, 1.5, 2.0, 2.5, 3.0)
                },
            )
            for tau in (1.0, 1.5, 2.0, 2.5)
        ],
    }


def _gcn(size: int) -> dict[str, list[ComparisonRow]]:
    """GCN, table 3, with controls: the graph is trained on a finished heatmap model, which stays as it is, and then with it."""
    maps = _maps(size)
    base = ComparisonRow("heatmap model of the graph", "gcn", maps | {"graph_weight": 0.0, "backbone_rate": 1.0})
    frozen = {
        "constant offset": {"predicts": "constant"},
        "own features only": {"connectivity": "none"},
        "parts connectivity": {"connectivity": "parts"},
        "shared connectivity": {"connectivity": "shared"},
        "learned connectivity": {},
        "learned connectivity, coordinates": {"predicts": "coordinates"},
    }
    return {
        "gcn": [
            replace(base, columns=_with_options(CLEAN_AND_OCCLUDED, {"as": "heatmap", "decoder": "two-hot"})),
            *(
                ComparisonRow(name, "gcn", maps | options | {"frozen": True}, base.run, CLEAN_AND_OCCLUDED)
                for name, options in frozen.items()
            ),
            ComparisonRow("learned connectivity, end to end", "gcn", maps, base.run, CLEAN_AND_OCCLUDED),
            ComparisonRow(
                "own features only, end to end", "gcn", maps | {"connectivity": "none"}, base.run, CLEAN_AND_OCCLUDED
            ),
        ]
    }


def _rht(size: int) -> dict[str, list[ComparisonRow]]:
    """RHT, tables V to IX, and what differs here from the paper."""
    references = {choice: {"reference": choice} for choice in ("sift", "neutral", "random", "worst")}
    small = {"sift, half": {"coarse_reference": 2}, "sift, quarter": {"coarse_reference": 4}}
    return {
        "rht-modules": [
            ComparisonRow("backbone", "rht", _RHT | {"encoder": False, "soft": False, "hard": False}),
            ComparisonRow("+ encoder", "rht", _RHT | {"soft": False, "hard": False}),
            ComparisonRow("+ soft", "rht", _RHT | {"hard": False, "multiscale": False}),
            ComparisonRow("+ soft, multi-scale", "rht", _RHT | {"hard": False}),
            ComparisonRow("+ hard, multi-scale", "rht", _RHT | {"soft": False}),
            ComparisonRow("+ both, multi-scale (rht)", "rht", _RHT),
            ComparisonRow("rht without boundaries", "rht", _RHT | {"boundaries": False}),
            ComparisonRow("rht, boundaries by equation 7", "rht", _RHT | {"even": False}),
            ComparisonRow("rht, no guidance of the affine map", "rht", _RHT | {"guidance": 0.0}),
        ],
        "rht-references": [ComparisonRow("rht", "rht", _RHT, columns={**references, **small})],
        "rht-backbones": [
            ComparisonRow(backbone, "rht", _RHT | {"backbone": backbone} | without, columns={column: {}})
            for backbone in RHT_BACKBONES
            for column, without in (("baseline", {"encoder": False, "soft": False, "hard": False}), ("rht", {}))
        ],
        CROSS_DATA: [
            ComparisonRow("backbone", "rht", _RHT | {"encoder": False, "soft": False, "hard": False}),
            ComparisonRow("rht", "rht", _RHT),
            ComparisonRow("rht, references of another set", "rht", _RHT, columns={"NME": {"references": True}}),
        ],
    }
