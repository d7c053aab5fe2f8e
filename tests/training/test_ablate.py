"""The ablations' tables can be made, and points that are held out are never learned from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vtrack.data.sources import layout_of
from vtrack.errors import UsageError
from vtrack.layouts import load_layout
from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import TaughtPositions, taught_positions
from vtrack.models.systems.regression import RegressionConfig
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.training.landmarks.batches import draw_batch
from vtrack.training.landmarks.loop import open_stores, train
from vtrack.training.landmarks.recipe import Augmentation, TrainingRecipe
from vtrack.training.studies.ablate import image_encoders, tables
from vtrack.training.studies.unlearned import BETWEEN, MARKED, OTHER, cells_of, kinds
from vtrack.training.studies.variants import variants

TINY = UdfldConfig(input_size=64, dim=32, heads=4, layers=0, hidden=32)


@pytest.mark.parametrize("name", ["w68", "scut86", "frl189", "helen29", "aflw", "wflw", "cofw"])
def test_every_second_point_is_chosen_on_both_sides_of_the_face(name: str) -> None:
    layout = layout_of(name)
    second = layout.every_second
    assert (second == second[layout.mirror]).all()
    assert not any(second[list(layout.query.indices(part))].all() for part in layout.query.parts)
    assert 0.35 * len(layout) < second.sum() <= 0.5 * len(layout) or name in ("helen29", "cofw", "aflw")
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


def test_layouts_that_several_sets_share_are_left_out_as_a_whole() -> None:
    names = ("w68", "ytf68", "scut86", "helen29")
    base = TrainingRecipe(tuple(f"{name}:{name}.zip" for name in names), model=TINY, steps=400)
    made = variants(base, only=("sets",))
    assert made["all sets but those of layout 300w"].data == ("scut86:scut86.zip", "helen29:helen29.zip")
    assert [name for name in made if "layout" in name] == ["all sets but those of layout 300w"]
    assert made["w68 and ytf68"].data == base.data[:2] and made["w68 and ytf68"].steps == 200
    assert made["helen29 alone"].steps == 100
    encoders = variants(base, {"resnet34": "resnet34.pth"}, ("encoders",))
    assert list(encoders) == ["all sets", "w68 alone", "all sets, resnet34", "w68 alone, resnet34"]
    assert {(recipe.model.backbone, recipe.init) for recipe in list(encoders.values())[2:]} == {
        ("resnet34", "resnet34.pth")
    }


def test_points_are_told_apart_by_what_a_network_has_learned() -> None:
    """WFLW for a network of 300W: pupils are parts it does not know, and 36 points lie between positions that it does."""
    card = Card("w68", "udfld", "", {}, taught=taught_positions([(load_layout("300w"), False)]))
    wflw = load_layout("wflw")
    masks = kinds(wflw, TaughtPositions.of(card))
    assert (sum(masks.values()) == 1).all()
    assert {kind: int(mask.sum()) for kind, mask in masks.items()} == {MARKED: 60, BETWEEN: 36, OTHER: 2}
    assert {wflw.query.parts[i] for i in np.flatnonzero(masks[OTHER])} == {"left_pupil", "right_pupil"}
    assert {wflw.query.parts[i] for i in np.flatnonzero(masks[BETWEEN])} == {
        *("jaw", "left_brow", "right_brow", "left_eye", "right_eye")
    }
    errors = np.full((1, 3, 98), 2.0)
    errors[..., masks[BETWEEN]] = 5.0
    assert cells_of(errors, errors + 1, masks) == {
        "all": "3.10 (98)",
        "learned parts (*)": "3.12 (96)",
        "marked positions": "2.00 (60)",
        "positions between": "5.00 (36)",
        "positions between, queried": "6.00 (36)",
        "other parts": "2.00 (2)",
    }


def test_image_encoders_are_checked_before_any_is_trained(tmp_path: Path) -> None:
    (tmp_path / "w.pth").touch()
    assert image_encoders(["resnet18", f"vit-b16-clip={tmp_path / 'w.pth'}"]) == {
        "resnet18": "",
        "vit-b16-clip": str(tmp_path / "w.pth"),
    }
    with pytest.raises(UsageError, match="no image encoder 'resnet19'; did you mean resnet1"):
        image_encoders(["resnet19"])
    with pytest.raises(UsageError, match=r"--encoder resnet18: there is no file none\.pth"):
        image_encoders(["resnet18=none.pth"])


def test_all_tables_are_made(faces_dir: Path, tmp_path: Path) -> None:
    specs = tuple(f"{name}:{faces_dir}/frl189.zip" for name in ("frl189", "frl189+middles"))
    base = TrainingRecipe(specs, model=TINY, steps=4, batch=4)
    lines: list[str] = []
    base = replace(base, first_pixel={"frl189": 1.0})
    encoders = {"resnet18-w48": ""}
    studies = ("parts", "sets", "positions", "encoders")
    made = tables(base, tmp_path, lines.append, encoders=encoders, only=studies)
    first, apart, second, third = made.split("\n\n")
    assert first.splitlines()[0] == "| learned from | frl189 | frl189+middles | frl189, boxes off by 0.2 |"
    assert len(first.splitlines()) == 2 + len(variants(base, encoders, studies))
    # What a network has not learned stands in brackets: its layout is a query like any other.
    assert re.search(r"\| frl189\+middles alone \| \(\d+\.\d\d\) \| \d+\.\d\d \|", first)
    assert re.search(r"\| all sets but frl189 \| \(\d+\.\d\d\) \| \d+\.\d\d \|", first)
    heads = "all | learned parts (*) | marked positions | positions between | positions between, queried | other parts"
    assert apart.splitlines()[0] == f"| not learned | {heads} |"
    number = r"\d+\.\d\d"
    middles = rf"{number} \(194\) \| {number} \(189\) \| {number} \(189\) \|  \|  \| {number} \(5\) \|"
    assert re.search(rf"\| frl189 alone → frl189\+middles \| {middles}", apart)
    held_out = rf"{number} \(189\) \| {number} \(189\)" + rf" \| {number} \(\d+\)" * 3 + r" \|  \|"
    assert re.search(rf"\| frl189 alone, every second point held out → frl189 \| {held_out}", apart)
    assert "| all sets → " not in apart
    assert "frl189: resnet18-w48 beats the default encoder, frl189 alone learned (table 6b)" in third
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
    assert tables(base, tmp_path, lines.append, encoders=encoders, only=studies) == made
    assert not lines
    sets = tables(base, tmp_path, lines.append, only=("sets",))  # needs nothing that is not there
    assert not lines
    assert "learnable" not in sets and "all sets but frl189" in sets
