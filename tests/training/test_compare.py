"""The comparison of all systems: its tables can be made, and making them again costs nothing."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from vtrack.data import load_dataset
from vtrack.errors import UsageError
from vtrack.evaluation.graphs import graph_sheet
from vtrack.models.card import Card
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.systems.registry import build_system, make_config
from vtrack.training.common.checkpoint import recipe_of
from vtrack.training.landmarks.loop import CHECKPOINT
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.claims import Claim, claims
from vtrack.training.studies.compare import Comparison, first_pixels, table
from vtrack.training.studies.paired import paired
from vtrack.training.studies.papers import CONFIG_KEYS, ComparisonRow, tables

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
                {option: value for option, value in column.items() if option not in CONFIG_KEYS}
                for column in row.columns.values()
            ]
            for column in changes:
                make_config(row.system, {**shape, **row.options, **column})
    for name, claimed in claims(size).items():
        cells = {(row.name, column) for row in tables(size)[name] for column in row.columns}
        assert {cell for claim in claimed for cell in (claim.better, claim.than)} <= cells, name
    # Tables share what they have in common.
    assert sum(map(len, tables(size).values())) > len(networks)


def test_a_table_is_made_once(faces_dir: Path, tmp_path: Path) -> None:
    data = load_dataset(f"frl189:{faces_dir}/frl189.zip", "val")
    base = TrainingRecipe(
        data=(f"frl189:{faces_dir}/frl189.zip",), steps=2, batch=4, first_pixel=first_pixels(["frl189=1"])
    )
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
        ComparisonRow("box", "gv", {"resolution": 16, "dim": 16}, columns={"out": {"shrink": 0.3, "outside": True}}),
    ]
    claimed = [Claim("the graph is better", "3.92 → 3.23", ("graph", "clean"), ("maps", "clean"))]
    lines: list[str] = []
    # The plain model takes the decoder and the maps from the graph's options, so the two share all else.
    made = table("gcn", rows, Comparison(base, shape, tmp_path, data, seeds=2), lines.append, claimed)
    cells, checked = made.split("\n\n")
    assert cells.splitlines()[0] == "| gcn | clean | occluded | out |"
    assert len(cells.splitlines()) == 5
    assert checked.splitlines()[0] == "| claims of gcn | paper | ours | difference | verdict |"
    assert checked.splitlines()[2].startswith("| the graph is better | 3.92 → 3.23 | ")
    assert {f"graph, seed {seed}: step 2/2" for seed in (0, 1)} <= {line[:23] for line in lines}
    lines.clear()
    assert table("gcn", rows, Comparison(base, shape, tmp_path, data, seeds=2), lines.append, claimed) == made
    assert not lines


def test_reference_faces_come_from_another_set(faces_dir: Path, tmp_path: Path) -> None:
    """Table VI of rht: the same network, other references; and weights of one backbone do not start another."""
    own, other = f"frl189:{faces_dir}/frl189.zip", tmp_path / "other.zip"
    with ZipFile(faces_dir / "frl189.zip") as source, ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("labels.csv"):  # the faces for validation are for training here
                content = content.replace(b",train,", b",spare,").replace(b",val,", b",train,")
            target.writestr(name, content)
    base = TrainingRecipe((own,), steps=2, batch=4, init=str(tmp_path / "none.safetensors"))
    shape = {"backbone": "resnet50", "input_size": 64, "layout": "frl189"}
    options = {"backbone": "resnet18-half", "widths": (16, 8, 8), "encoder": False, "heads": 2, "references": 3}
    row = ComparisonRow("rht", "rht", options, columns={"own": {}, "other": {"references": True}})
    comparison = Comparison(
        base,
        shape,
        tmp_path / "out",
        load_dataset(own, "val"),
        schedules={"rht": "cosine:0.1"},
        references=f"frl189:{other}",
    )
    figures = {column: comparison.figures(row, column, str)[0]["faces"] for column in row.columns}
    assert figures["own"] != figures["other"]
    (run,) = (tmp_path / "out").glob("rht*")
    assert recipe_of(run / CHECKPOINT)["schedule"] == "cosine:0.1"


def test_a_difference_within_its_error_is_not_shown() -> None:
    random = np.random.default_rng(0)
    second = random.uniform(2, 8, (3, 200))  # faces differ far more than networks
    noise = random.normal(0, 0.5, (3, 200))
    assert paired(second - 0.3 + noise, second).verdict == "holds"
    assert paired(second + 0.3 + noise, second).verdict == "does not hold"
    assert paired(second + noise, second).verdict == "not shown"
    # Seeds that disagree count, however many faces there are.
    by_seed = np.array([[-0.5], [0.4], [-0.1]])
    assert paired(second + by_seed, second).verdict == "not shown"
    assert str(paired(second[:1] - 0.3, second[:1])) == "-0.30 ± 0.00 (one seed)"
    with_gaps = second.copy()
    with_gaps[:, :150] = np.nan
    assert paired(with_gaps - 0.3, second).mean == pytest.approx(-0.3)


def test_first_pixels_are_read() -> None:
    assert first_pixels(["w68=1", "scut86=0.5"]) == {"w68": 1.0, "scut86": 0.5}
    with pytest.raises(UsageError, match="--first-pixel needs NAME=X"):
        first_pixels(["w68"])


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
