"""The learning rate falls as its schedule says, in training too."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from vtrack.errors import UsageError
from vtrack.models.systems.registry import SYSTEMS
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.training.common.schedule import parse_schedule
from vtrack.training.landmarks.loop import train
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.papers import SCHEDULES


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        ("cosine", (0.04, 1.0, 0.5 + 0.5 * math.cos(math.pi * 0.45 / 0.95), 0.0)),
        ("cosine:0.1", (0.04, 1.0, 0.1 + 0.9 * (0.5 + 0.5 * math.cos(math.pi * 0.45 / 0.95)), 0.1)),
        ("linear:0.005", (0.04, 1.0, 1 - 0.995 * 0.45 / 0.95, 0.005)),
        ("steps:0.5", (0.04, 1.0, 0.1, 0.1)),
        ("steps:0.4,0.8", (0.04, 1.0, 0.1, 0.01)),
    ],
)
def test_schedules_rise_and_fall(text: str, factors: tuple[float, ...]) -> None:
    schedule = parse_schedule(text)
    assert [schedule.factor(done) for done in (0.0, 0.05, 0.5, 1.0)] == pytest.approx(factors)


def test_papers_schedules_are_ones() -> None:
    assert set(SCHEDULES) <= set(SYSTEMS)
    ends = {system: parse_schedule(text).factor(1.0) for system, text in SCHEDULES.items()}
    assert ends == pytest.approx({"udfld": 0.1, "gcn": 0.1, "rht": 0.1, "keyposs": 0.005})


@pytest.mark.parametrize("text", ["cosin", "steps", "steps:", "steps:1.2", "linear:0.1,0.2", "cosine:x", ""])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a schedule is cosine or linear"):
        TrainingRecipe(("w68:w68.zip",), schedule=text)


def test_a_run_follows_its_schedule(faces_dir: Path, tmp_path: Path) -> None:
    config = UdfldConfig(input_size=64, dim=32, heads=4, layers=0, hidden=32)
    recipe = TrainingRecipe(
        (f"frl189:{faces_dir}/frl189.zip",), model=config, steps=4, batch=2, every=1, rate=1e-3, schedule="steps:0.75"
    )
    train(recipe, tmp_path / "run")
    with (tmp_path / "run" / "log.csv").open(encoding="utf-8") as file:
        rates = [float(row["rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4], rel=2e-3)
