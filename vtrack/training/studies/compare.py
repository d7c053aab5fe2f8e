"""Compares the published systems: trains them alike, repeats the ablations of their papers, and prints the tables.

    python -m vtrack.training.studies.compare --data w68:data/w68.zip --out runs/compare --steps 4000

Each network is trained once, all with the same backbone, crops, steps, batch size and augmentation. Finished runs are kept in
the output folder, so the same command resumes an interrupted study. `--only gv` and the like make one table; tables without a
common network can be made concurrently.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vtrack.data import Dataset, load_dataset
from vtrack.evaluation import evaluate, summary
from vtrack.evaluation.boxes import disturbed
from vtrack.models.card import Card
from vtrack.models.engines.base import encode_query
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.systems.base import System
from vtrack.models.systems.registry import build_system, make_config
from vtrack.training.common.checkpoint import load_run, load_weights
from vtrack.training.landmarks.augment import occlude
from vtrack.training.landmarks.loop import CHECKPOINT, train
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.markdown import markdown
from vtrack.types import ImageArray, Prediction, Query


@dataclass(frozen=True)
class ComparisonRow:
    """One row of a table: a network, trained once, evaluated in one or more ways."""

    name: str
    system: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the system that differ from the defaults."""
    start: str = ""
    """The run whose weights it starts from."""
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"NME": {}})
    """How each column is evaluated: options that are changed after training, `as` for another system that decodes the network,
    and `shrink` or `occluded` for the faces."""

    @property
    def run(self) -> str:
        """Folder of the run: rows of the same network share it."""
        options = "_".join(f"{option}-{_word(value)}" for option, value in sorted(self.options.items()))
        return "_".join(part for part in (self.system, options, f"from-{self.start}" if self.start else "") if part)


def _word(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


MAPS = {"neck": "pyramid", "dim": 64, "margin": 1.25}
CLEAN_AND_OCCLUDED: dict[str, dict[str, Any]] = {"clean": {}, "occluded": {"occluded": True}}


def _with_options(columns: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The columns with these options added to each."""
    return {name: {**column, **options} for name, column in columns.items()}


def tables(size: int) -> dict[str, list[ComparisonRow]]:
    """Every table, for crops of `size` pixels."""
    side = size // 4
    maps = MAPS | {"resolution": side}
    # As wide at the finest scale as the other systems' maps: with 16 channels for 68 heatmaps the error hardly fell.
    rht = {"widths": (64, 64, 64), "heads": 4, "hidden": 128}
    # The paper starts from a trained backbone and gives it a low learning rate; here the backbone starts untrained.
    gcn = maps | {"backbone_rate": 1.0}
    graph = ComparisonRow("heatmap model of the graph", "gcn", gcn | {"graph_weight": 0.0})
    resolutions = [side >> step for step in range(5) if side >> step >= 4]
    # `keyposs` and the plain heatmap model are one network, and `beyond` only changes decoding, so each is trained once.
    aware = {"as": "heatmap", "decoder": "distribution-aware"}
    # Crops are 1.25 times as large as the box: points leave the crop only where boxes are shrunk by more than a fifth.
    shrunk = {"original box": {}, "shrunk 10 %": {"shrink": 0.1}, "shrunk 30 %": {"shrink": 0.3}}
    return {
        "systems": [
            ComparisonRow("regression", "regression"),
            ComparisonRow("heatmap, distribution-aware", "keyposs", maps, columns={"NME": aware}),
            ComparisonRow("gcn", "gcn", gcn),
            ComparisonRow("rht", "rht", rht),
            ComparisonRow("keyposs", "keyposs", maps),
            ComparisonRow("gv", "gv", maps),
            ComparisonRow("udfld", "udfld"),
        ],
        "keyposs": [
            ComparisonRow(
                f"{resolution} x {resolution}",
                "keyposs",
                MAPS | {"resolution": resolution} | encoding,
                columns={f"{name} ({encoding.get('encoding', 'unbiased')})": {"decoder": name} for name in names},
            )
            for resolution in resolutions
            for encoding, names in (
                ({"encoding": "biased"}, ("one-hot", "two-hot", "keyposs")),
                ({}, ("distribution-aware", "keyposs")),
            )
        ],
        "gv": [
            ComparisonRow("heatmap", "keyposs", maps, columns=_with_options(shrunk, aware | {"decoder": "two-hot"})),
            ComparisonRow("gv", "gv", maps, columns=_with_options(shrunk, {"beyond": False})),
            ComparisonRow("gv, Beyond Box", "gv", maps, columns=shrunk),
        ],
        "gv-theta": [
            ComparisonRow(f"theta {theta}", "gv", maps if theta == 3 else maps | {"theta": float(theta)})
            for theta in range(5)
        ],
        "gv-bandwidths": [
            ComparisonRow(f"l = {_word(widths)}", "gv", maps if widths == (3, 5) else maps | {"bandwidths": widths})
            for widths in ((1,), (3,), (5,), (7,), (1, 3), (1, 5), (1, 7), (3, 5), (3, 7), (5, 7))
        ],
        "gv-beyond": [
            ComparisonRow(
                f"tau {tau}",
                "gv",
                maps,
                columns={
                    f"sigma {s}": {"tau": tau, "beyond_sigma": s, "shrink": 0.3} for s in (1.0, 1.5, 2.0, 2.5, 3.0)
                },
            )
            for tau in (1.0, 1.5, 2.0, 2.5)
        ],
        "gcn": [
            replace(graph, columns=_with_options(CLEAN_AND_OCCLUDED, {"as": "heatmap", "decoder": "two-hot"})),
            *(
                ComparisonRow(
                    f"{connectivity} connectivity",
                    "gcn",
                    maps | {"connectivity": connectivity, "frozen": True},
                    start=graph.run,
                    columns=CLEAN_AND_OCCLUDED,
                )
                for connectivity in ("parts", "shared", "learned")
            ),
            ComparisonRow("learned connectivity, end to end", "gcn", gcn, columns=CLEAN_AND_OCCLUDED),
        ],
        "rht-modules": [
            ComparisonRow("backbone", "rht", rht | {"encoder": False, "soft": False, "hard": False}),
            ComparisonRow("+ encoder", "rht", rht | {"soft": False, "hard": False}),
            ComparisonRow("+ soft", "rht", rht | {"hard": False, "multiscale": False}),
            ComparisonRow("+ soft, multi-scale", "rht", rht | {"hard": False}),
            ComparisonRow("+ hard, multi-scale", "rht", rht | {"soft": False}),
            ComparisonRow("+ both, multi-scale (rht)", "rht", rht),
            ComparisonRow("rht without boundaries", "rht", rht | {"boundaries": False}),
        ],
        "rht-references": [
            ComparisonRow(
                "rht",
                "rht",
                rht,
                columns={
                    **{choice: {"reference": choice} for choice in ("sift", "neutral", "random", "worst")},
                    "sift, half": {"coarse_reference": 2},
                    "sift, quarter": {"coarse_reference": 4},
                },
            )
        ],
    }


class Occluded:
    """A model whose crops are partly covered, in the same way for every model."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine, self.name = engine, engine.name
        self.input_size, self.margin = engine.input_size, engine.margin
        self._random = np.random.default_rng(0)

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Predict on the covered crops."""
        covered = [occlude(crop.transpose(1, 2, 0).copy(), self._random).transpose(2, 0, 1) for crop in crops]
        return self._engine.predict(np.stack(covered), query)


class Comparison:
    """Runs and figures in one folder.

    Args:
        base: The recipe that all runs share.
        shape: Options that all systems share: backbone and size of the crops.
        out: The folder.
        data: Validation faces.
    """

    def __init__(self, base: TrainingRecipe, shape: Mapping[str, Any], out: Path, data: Dataset) -> None:
        self._base, self._shape, self._out, self._data = base, shape, out, data

    def figure(self, row: ComparisonRow, column: str, report: Callable[[str], None]) -> dict[str, float]:
        """The figures of one cell, measured if the folder does not have them yet."""
        changes, path = dict(row.columns[column]), self._out / row.run / "figures.json"
        figures: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
        key = json.dumps([changes, self._base.steps])
        if key not in figures:
            self._train(row, report)
            figures[key] = self._measure(row, changes)
            path.write_text(json.dumps(figures, indent=1))
        return figures[key]

    def _config(self, system: str, options: Mapping[str, Any]) -> Any:
        return make_config(system, {**self._shape, **options})

    def _train(self, row: ComparisonRow, report: Callable[[str], None]) -> None:
        done = self._out / row.run / CHECKPOINT
        if done.exists() and load_run(done)[1]["step"] >= self._base.steps:
            return
        start = str(self._out / row.start) if row.start else ""
        recipe = replace(self._base, model=self._config(row.system, row.options), start=start)
        train(recipe, self._out / row.run, report=lambda line: report(f"{row.name}: {line}"))

    def _measure(self, row: ComparisonRow, changes: dict[str, Any]) -> dict[str, float]:
        shrink, occluded = changes.pop("shrink", 0.0), changes.pop("occluded", False)
        system = changes.pop("as", row.system)
        weights = load_weights(self._out / row.run / CHECKPOINT)
        options = dict(row.options)
        if system != row.system:  # the heatmap model within
            options = {option: options[option] for option in (*MAPS, "resolution") if option in options}
        config = self._config(system, {**options, **changes})
        network = build_system(system, config)
        missing, _ = network.load_state_dict(weights, strict=system == row.system)
        assert not missing
        engine = TorchEngine(Card(row.name, system, "", asdict(config)), network, self._base.device)
        boxes = disturbed(self._data.layout.face_box(self._data.points), shift=0.0, shrink=shrink, seed=0)
        figures = summary(evaluate(Occluded(engine) if occluded else engine, self._data, boxes), "inter_ocular")
        return {"nme": figures["nme"], "failures_8": figures["failures_8"], **size_of(network, engine)}


def size_of(network: System, engine: TorchEngine) -> dict[str, float]:
    """Millions of parameters, billions of multiply-adds, milliseconds per face."""
    crop = np.random.default_rng(0).integers(0, 256, (1, 3, engine.input_size, engine.input_size), dtype=np.uint8)
    layout = getattr(network, "layout", None)
    query = layout.query if layout is not None else Query(("jaw",) * 68, tuple(np.linspace(0, 1, 68)))
    device = next(network.parameters()).device
    parts, positions = (torch.from_numpy(array).to(device) for array in encode_query(query))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.from_numpy(crop).to(device), parts, positions)
    times = []
    for _ in range(12):
        started = time.perf_counter()
        engine.predict(crop, query)
        times.append(time.perf_counter() - started)
    return {
        "parameters": sum(p.numel() for p in network.parameters()) / 1e6,
        "operations": counter.get_total_flops() / 2e9,
        "milliseconds": float(np.median(times[2:])) * 1000,
    }


def table(name: str, rows: list[ComparisonRow], comparison: Comparison, report: Callable[[str], None]) -> str:
    """One table as Markdown. Rows of one name share a line."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        line = cells.setdefault(row.name, {})
        for column in row.columns:
            figures = comparison.figure(row, column, report)
            line[column] = f"{figures['nme']:.2f}"
            if name == "systems":
                line["failures at 8 %"] = f"{figures['failures_8']:.2f}"
                line["parameters"] = f"{figures['parameters']:.2f} M"
                line["GFLOPs"] = f"{figures['operations']:.2f}"
                line["ms per face"] = f"{figures['milliseconds']:.1f}"
    heads = list(dict.fromkeys(head for line in cells.values() for head in line))
    return markdown(name, heads, cells)


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="NAME:PATH", help="a data set of the 68-point layout")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where runs and figures go")
    parser.add_argument("--only", action="append", choices=list(tables(256)), help="make this table; repeat for more")
    parser.add_argument("--backbone", default="resnet18-half", help="(default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the crops (default: %(default)s)")
    parser.add_argument("--init", default="", metavar="FILE", help="weights that every backbone starts from")
    parser.add_argument("--steps", type=int, default=4000, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=1e-3, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    args = parser.parse_args()
    base = TrainingRecipe(
        data=(args.data,),
        init=args.init,
        steps=args.steps,
        batch=args.batch,
        rate=args.rate,
        every=min(args.steps, 1000),
        threads=args.threads,
        in_memory=True,
        device=args.device,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    shape = {"backbone": args.backbone, "input_size": args.size}
    comparison = Comparison(base, shape, args.out, load_dataset(args.data, "val"))
    for name in args.only or tables(args.size):
        made = table(name, tables(args.size)[name], comparison, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
        (args.out / f"{name}.md").write_text(made)
        print(made, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
