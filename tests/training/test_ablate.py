"""The ablations' tables can be made, and points that are held out are never learned from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vtrack.data.sources import layout_of
from vtrack.errors import UsageError
from vtrack.models.systems.regression import RegressionConfig
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.training.landmarks.batches import draw_batch
from vtrack.training.landmarks.loop import open_stores, train
from vtrack.training.landmarks.recipe import Augmentation, TrainingRecipe
from vtrack.training.studies.ablate import tables, variants

TINY = UdfldConfig(input_size=64, dim=32, heads=4, layers=0, hidden=32)


@pytest.mark.parametrize("name", ["w68", "scut86", "frl189", "helen29", "frl189", "wflw", "cofw"])
def test_every_second_point_is_chosen_on_both_sides_of_the_face(name: str) -> None:
    layout = layout_of(name)
    second = layout.every_second
    assert (second == second[layout.mirror]).all()
    assert 0.35 * len(layout) < second.sum() <= 0.5 * len(layout) or name in ("helen29", "cofw")
    assert not second[[i for i, part in enumerate(layout.query.parts) if layout.query.parts.count(part) == 1]].any()


def test_points_held_out_are_never_asked_for(faces_dir: Path, tmp_path: Path) -> None:
    store = open_stores([f"frl189:{faces_dir}/frl189.zip"], "val", tmp_path)[0]
    second = store.layout.every_second
    for seed in range(5):
        batch = draw_batch(store, 64, 1.25, 4, 20, Augmentation(), np.random.default_rng(seed), hold_out=True)
        assert not second[batch.chosen].any() and len(batch.chosen) == batch.points.shape[1]
        assert batch.query.parts == tuple(store.layout.query.parts[i] for i in batch.chosen)
    fixed = TrainingRecipe(
        (f"frl189:{faces_dir}/frl189.zip",), model=RegressionConfig("resnet18-half", 64, "frl189"), steps=1
    )
    with pytest.raises(UsageError, match="--hold-out needs --model udfld"):
        train(TrainingRecipe(**{**vars(fixed), "hold_out": ("frl189",)}), tmp_path / "run")


def test_both_tables_are_made(faces_dir: Path, tmp_path: Path) -> None:
    specs = tuple(f"{name}:{faces_dir}/frl189.zip" for name in ("frl189", "frl189+middles"))
    base = TrainingRecipe(specs, model=TINY, steps=4, batch=4)
    lines: list[str] = []
    base = replace(base, first_pixel={"frl189": 1.0})
    made = tables(base, tmp_path, lines.append)
    first, second, third = made.split("\n\n")
    assert first.splitlines()[0] == "| learned from | frl189 | frl189+middles | frl189, boxes off by 0.2 |"
    assert len(first.splitlines()) == 2 + len(variants(base))
    # What a network has not learned stands in brackets: its layout is a query like any other.
    assert re.search(r"\| frl189\+middles alone \| \(\d+\.\d\d\) \| \d+\.\d\d \|", first)
    assert re.search(r"\| all sets but frl189 \| \(\d+\.\d\d\) \| \d+\.\d\d \|", first)
    assert third.splitlines()[0] == "| claims | ours | difference | verdict |"
    assert "(one seed)" in third
    assert second.splitlines()[0] == "| of frl189 | every second point | the others |"
    assert [line.split(" | ")[0] for line in second.strip().splitlines()[2:]] == [
        "| all sets",
        "| frl189 alone",
        "| frl189 alone, every second point held out",
    ]
    assert any(line.startswith("frl189 alone, learnable parts: step 2/2") for line in lines)
    lines.clear()
    assert tables(base, tmp_path, lines.append) == made
    assert not lines
