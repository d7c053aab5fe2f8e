"""The comparison of all systems: its tables can be made, and making them again costs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtrack.data import load_dataset
from vtrack.errors import UsageError
from vtrack.evaluation.graphs import graph_sheet
from vtrack.models.card import Card
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.systems.registry import build_system, make_config
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.compare import Comparison, ComparisonRow, table, tables

MAPS = {"resolution": 16, "neck": "pyramid", "dim": 16, "visual": 8, "classes": 8}


@pytest.mark.parametrize("size", [128, 256])
def test_every_row_of_every_table_is_a_model_that_can_be(size: int) -> None:
    shape = {"backbone": "resnet18-half", "input_size": size}
    for name, rows in tables(size).items():
        networks = {row.run for table in tables(size).values() for row in table}
        for row in rows:
            make_config(row.system, {**shape, **row.options})
            assert not row.start or row.start in networks, name
            changes = [
                {option: value for option, value in column.items() if option not in ("shrink", "occluded", "as")}
                for column in row.columns.values()
            ]
            for column in changes:
                make_config(row.system, {**shape, **row.options, **column})
    # Tables share what they have in common.
    assert sum(map(len, tables(size).values())) > len(networks)


def test_a_table_is_made_once(faces_dir: Path, tmp_path: Path) -> None:
    data = load_dataset(f"frl189:{faces_dir}/frl189.zip", "val")
    base = TrainingRecipe(data=(f"frl189:{faces_dir}/frl189.zip",), steps=2, batch=4)
    shape = {"backbone": "resnet18-half", "input_size": 64, "layout": "frl189"}
    graph = ComparisonRow(
        "maps",
        "gcn",
        MAPS | {"graph_weight": 0.0},
        columns={"clean": {"as": "heatmap"}, "occluded": {"occluded": True}},
    )
    rows = [
        graph,
        ComparisonRow("graph", "gcn", MAPS | {"frozen": True}, start=graph.run, columns={"clean": {"shrink": 0.1}}),
    ]
    lines: list[str] = []
    # The plain model takes the decoder and the maps from the graph's options, so the two share all else.
    made = table("gcn", rows, Comparison(base, shape, tmp_path, data), lines.append)
    assert made.splitlines()[0] == "| gcn | clean | occluded |"
    assert len(made.splitlines()) == 4
    assert any(line.startswith("graph: step 2/2") for line in lines)
    lines.clear()
    assert table("gcn", rows, Comparison(base, shape, tmp_path, data), lines.append) == made
    assert not lines


def test_the_graph_of_a_face_is_drawn(faces_dir: Path) -> None:
    data = load_dataset(f"frl189:{faces_dir}/frl189.zip", "val")
    shape = {"backbone": "resnet18-half", "input_size": 64, "layout": "frl189"}
    engines = {}
    for system, options in (("gcn", MAPS), ("regression", {})):
        config = make_config(system, shape | options)
        card = Card(system, system, "", {"input_size": 64, "margin": 1.25})
        engines[system] = TorchEngine(card, build_system(system, config), "cpu")
    page = graph_sheet(engines["gcn"], data, faces=2)
    assert page.shape == (560 + 16, 2 * 568 + 8, 3)
    assert len(np.unique(page.reshape(-1, 3), axis=0)) > 1000
    with pytest.raises(UsageError, match="regression has no graph to draw"):
        graph_sheet(engines["regression"], data)
