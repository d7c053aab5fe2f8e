"""Figures of a model where faces move, on small data sets whose figures are known."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.faces import Template, picture, state_zip, template_faces
from vtrack.cli.main import main
from vtrack.data import load_dataset
from vtrack.data.lids import eye_points, narrowed
from vtrack.evaluation.states import LAYOUT, Figure, lip_gaps, measure, predictions
from vtrack.types import FloatArray, ImageArray, Prediction, Query

LIP = sorted(LAYOUT.query.indices("inner_lip"), key=lambda i: LAYOUT.query.positions[i])
UPPER_LIP, LOWER_LIP = LIP[1:4], LIP[7:4:-1]


@dataclass
class Narrow(Template):
    """The template with a left eye that is less open than the right."""

    left: float = 1 / 3
    """Share of its opening that the left eye keeps."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        told = super().predict(crops, query)
        points = np.array(told.points)
        share = np.full(len(points), self.left)
        places = eye_points(LAYOUT, "left")
        points[:, places] = narrowed(points[:, places], share)
        return Prediction(points, told.sigma, told.presence)


def people(path: Path, count: int = 5) -> None:
    """A zip of 68-point faces, all for validation."""
    points = template_faces(LAYOUT, count)
    points[0][LOWER_LIP] = points[0][UPPER_LIP]
    names = ",".join(f"x{i},y{i}" for i in range(1, 69))
    lines = [f"file,split,group,{names}"]
    lines += [
        f"images/{i}.png,val,{i}," + ",".join(f"{value:.3f}" for value in face.ravel()) for i, face in enumerate(points)
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "\n".join(lines) + "\n")
        for i in range(count):
            archive.writestr(f"images/{i}.png", picture(400, 400))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        ("val", f"{group}:{i}", state)
        for i, (group, state) in enumerate(
            [
                ("cew", "closed"),
                ("cew", "closed"),
                ("lfw", "closed"),
                ("lfw", "half"),
                ("lfw", "open"),
                ("lfw", "mouth"),
            ]
        )
    ]
    state_zip(tmp_path / "shut478.zip", tuple(rows))
    state_zip(tmp_path / "yawn478.zip", (("val", "wink:1", "wink"), ("val", "wink:2", "open")))
    people(tmp_path / "w68.zip")
    people(tmp_path / "ytf68.zip", 3)
    return tmp_path


def straight(points: FloatArray) -> FloatArray:
    return np.zeros(len(points))


def figures(model: Template, folder: Path) -> dict[str, Figure]:
    return {figure.name: figure for figure in measure(model, folder, straight)}


def test_a_model_whose_answer_never_changes(folder: Path) -> None:
    told = figures(Template(), folder)
    assert (told["shut_eyes"].value, told["shut_eyes"].count) == (pytest.approx(1, abs=1e-3), 2)
    assert (told["narrow_eyes"].count, told["half_open_eyes"].count, told["winks"].count) == (1, 1, 1)
    assert told["slits"].value == 100
    assert told["winks"].value < 0.05
    assert told["w68_yaw_0_15"].value < 0.5 and told["w68_yaw_0_15"].count == 5
    assert "w68_yaw_15_30" not in told


def test_winks_are_seen(folder: Path) -> None:
    assert figures(Narrow(), folder)["winks"].value == pytest.approx(2 / 3, abs=0.05)


def test_covered_points_are_told_apart_from_the_others(folder: Path) -> None:
    told = figures(Template(offset=(0.02, 0.0), spread=0.02), folder)
    assert told["covered_points"].count + told["seen_points"].count == 5 * 68
    assert 5 < told["covered_points"].count < 100
    assert told["covered_points"].value == pytest.approx(told["seen_points"].value, rel=0.1), "it does not look"
    assert told["covered_sigma"].value == pytest.approx(told["seen_sigma"].value, rel=0.1)
    assert told["covered_within"].value > 50


def test_hidden_points_are_judged_where_a_model_tells_them(folder: Path) -> None:
    @dataclass
    class Masked(Template):
        """Says that mouth and nose are hidden, whatever it sees."""

        def predict(self, crops: ImageArray, query: Query) -> Prediction:
            told = super().predict(crops, query)
            below = np.isin(query.parts, ("inner_lip", "outer_lip", "nose_base"))
            return replace(told, hidden=np.tile(np.where(below, 0.9, 0.1), (len(crops), 1)))

    assert not [name for name in figures(Template(), folder) if name.startswith("hidden_")]
    state_zip(folder / "mask478.zip", (("train", "mask:1", "mask"), ("val", "mask:2", "mask")))
    told = figures(Masked(), folder)
    assert told["hidden_masks"].value == 1.0
    assert told["hidden_masks_off"].value == pytest.approx(0.1)
    assert told["hidden_mask"].value > 0.8 > told["hidden_hair"].value, "hair hides neither"
    assert told["hidden_drawn"].count == 3 * 5 * 68


def test_gaps_between_lips() -> None:
    points = template_faces(LAYOUT, 2)
    points[1, LOWER_LIP] = points[1, UPPER_LIP]
    gaps = lip_gaps(points)
    assert gaps[0] >= 0 and gaps[1] == 0


def test_what_is_no_face_to_the_model_does_not_count(folder: Path) -> None:
    @dataclass
    class Blind(Template):
        def predict(self, crops: ImageArray, query: Query) -> Prediction:
            told = super().predict(crops, query)
            return Prediction(told.points, told.sigma, np.zeros(len(crops)))

    data = load_dataset(f"w68:{folder / 'w68.zip'}", "val")
    assert np.isnan(predictions(Blind(), data).points).all()
    assert figures(Blind(), folder)["shut_eyes"].count == 0


def test_the_command_prints_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--states", "--model", "fast", "--data", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "shut_eyes" in text and "winks" in text and "F1" in text


def test_states_need_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--states", "--data", f"w68:{folder / 'w68.zip'}"]) == 2
    assert "the folder" in capsys.readouterr().err
