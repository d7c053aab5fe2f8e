"""The metrics against numbers worked out by hand, and `vtrack eval` from end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.integrate import trapezoid

from tests.faces import Template, dataset, template_faces, write_table
from vtrack.cli.eval import _detected
from vtrack.cli.main import main
from vtrack.data import Dataset
from vtrack.errors import DataError, SinkError, UsageError
from vtrack.evaluation import LandmarkEvaluation, evaluate, metrics, summary
from vtrack.evaluation.boxes import disturbed
from vtrack.evaluation.pictures import save_curves, sheet
from vtrack.imaging.png import save_png
from vtrack.layouts import load_layout
from vtrack.types import Detections, Frame


def test_failures_and_area_by_hand() -> None:
    errors = np.array([0.02, 0.04, 0.10, np.nan])
    assert metrics.failure_rate(errors, 0.08) == pytest.approx(2 / 4)
    # Each face adds 1 - error / limit, if that is positive: 0.75, 0.5, 0, 0.
    assert metrics.area_under_curve(errors, 0.08) == pytest.approx(1.25 / 4)
    assert metrics.area_under_curve(np.zeros(3), 0.08) == 1.0
    at, share = metrics.cumulative(errors, 0.10, steps=6)
    assert at == pytest.approx([0, 0.02, 0.04, 0.06, 0.08, 0.10])
    assert share == pytest.approx([0, 0.25, 0.5, 0.5, 0.5, 0.75])


def test_the_area_is_the_curves_integral() -> None:
    errors = np.random.default_rng(1).gamma(4, 0.012, 500)
    at, share = metrics.cumulative(errors, 0.08, steps=20001)
    assert metrics.area_under_curve(errors, 0.08) == pytest.approx(trapezoid(share, at) / 0.08, abs=1e-4)


def test_sigma_of_normal_errors() -> None:
    rng = np.random.default_rng(2)
    sigma = rng.uniform(0.5, 4, (400, 20))
    offsets = rng.normal(size=(400, 20, 2)) * sigma[..., None]
    assert metrics.within(offsets, sigma) == pytest.approx(0.6827, abs=0.01)
    assert metrics.within(offsets, sigma, 2.0) == pytest.approx(0.9545, abs=0.01)


def _two_points(boxes: np.ndarray | None = None) -> Dataset:
    """One face whose lengths are round numbers: eye corners 100 apart, box 160 x 120."""
    layout = load_layout("300w")
    points = np.tile(np.array([100, 60], np.float32), (1, 68, 1))
    points[0, 36], points[0, 45] = (50, 50), (150, 50)
    points[0, 37:42], points[0, 42:45], points[0, 46:48] = (50, 50), (130, 50), (130, 50)
    points[0, 0], points[0, 8] = (20, 20), (180, 140)
    return Dataset("made", layout, ("a",), points, ("a",), lambda _: b"", boxes=boxes)


def test_lengths_by_hand() -> None:
    data = _two_points()
    assert metrics.scales(data, "inter_ocular") == pytest.approx([100])
    # The right eye's six points: one at 150, five at 130.
    assert metrics.scales(data, "inter_pupil") == pytest.approx([(150 + 5 * 130) / 6 - 50])
    assert metrics.scales(data, "diagonal") == pytest.approx([200])
    assert metrics.scales(data, "box") == pytest.approx([np.sqrt(160 * 120)])
    given = _two_points(np.array([[0.0, 0.0, 30.0, 40.0]]))
    assert metrics.scales(given, "diagonal") == pytest.approx([50])
    with pytest.raises(DataError, match="choose from inter_ocular, inter_pupil, diagonal, box"):
        metrics.scales(data, "iod")


def test_a_face_without_size() -> None:
    layout = load_layout("300w")
    flat = Dataset("made", layout, ("a",), np.zeros((1, 68, 2), np.float32), ("a",), lambda _: b"")
    with pytest.raises(DataError, match="made: a: the inter_ocular distance is zero"):
        metrics.scales(flat, "inter_ocular")


def test_figures_by_hand() -> None:
    """All points of one face off by (3, 4) pixels, 5 together, of 100 between the eye corners; the other face missed."""
    one = _two_points()
    data = Dataset(
        "made",
        one.layout,
        ("a", "b"),
        np.repeat(one.points, 2, 0),
        ("a", "b"),
        one.read,
        {"hard": np.array([False, True]), "easy": np.array([True, False])},
    )
    points = data.points + np.array([3.0, 4.0])
    points[1] = np.nan
    sigma = np.where(np.arange(68) < 34, 3.5, 4.5) * np.array([[1.0], [np.nan]])
    figures = summary(LandmarkEvaluation(data, points, sigma, np.array([0.9, np.nan])))
    assert (figures["nme"], figures["median"], figures["worst"]) == (5.0, 5.0, 5.0)
    assert (figures["faces"], figures["missed"], figures["normalised_by"]) == (2, 1, "inter_ocular")
    assert (figures["failures_8"], figures["failures_10"]) == (50.0, 50.0)
    assert (figures["auc_8"], figures["auc_10"]) == (round(100 * 0.375 / 2, 3), 25.0)
    assert figures["nme_by"]["diagonal"] == 2.5
    assert figures["parts"]["jaw"] == 5.0 and set(figures["parts"]) == set(data.layout.query.parts)
    assert figures["subsets"]["easy"]["nme"] == 5.0
    assert "nme" not in figures["subsets"]["hard"] and figures["subsets"]["hard"]["missed"] == 1
    # |3| is within 3.5 and 4.5, |4| only within 4.5.
    assert figures["sigma"]["within_1_percent"] == 75.0 and figures["sigma"]["within_2_percent"] == 100.0
    assert json.dumps(figures, allow_nan=False)


def test_aflw_is_told_in_shares_of_the_box() -> None:
    assert metrics.usable_scales(dataset("aflw"))[0] == "diagonal"
    assert metrics.usable_scales(dataset("wflw"))[0] == "inter_ocular"


# Running a model


@pytest.mark.parametrize("layout", ["300w", "wflw", "scut86"])
def test_a_perfect_model_has_no_error(layout: str) -> None:
    """The template's face in its own box is found exactly, so crops and their way back are exact too."""
    data = dataset(layout)
    boxes = load_layout("300w").face_box(dataset("300w").points)
    outcome = evaluate(Template(), data, boxes, batch=3)
    assert outcome.errors("inter_ocular").max() < 1e-3
    assert outcome.presence == pytest.approx(0.9)
    assert outcome.sigma[0, 0] == pytest.approx(0.01 * boxes[0, 2:].max() * 1.25, rel=1e-5)


def test_points_outside_the_crop_are_counted() -> None:
    data = dataset("300w")
    boxes = data.layout.face_box(data.points)
    assert "outside" not in summary(evaluate(Template(), data, boxes))  # crops are 1.25 times as large
    small = evaluate(Template(), data, disturbed(boxes, shift=0.0, shrink=0.3, seed=0))
    figures, errors = summary(small), small.errors("inter_ocular")
    assert small.outside is not None
    assert figures["outside"]["points_percent"] == pytest.approx(small.outside.mean() * 100, abs=1e-3)
    assert figures["outside"]["nme"] == pytest.approx(errors[small.outside].mean() * 100, abs=1e-3)
    assert 5 < figures["outside"]["points_percent"] < 50


def test_a_known_error_is_measured() -> None:
    data = dataset()
    outcome = evaluate(Template(offset=(0.03, 0.04)), data)
    boxes = data.layout.face_box(data.points)
    expected = 0.05 * 1.25 * boxes[:, 2:].max(1) / metrics.scales(data, "inter_ocular")
    assert outcome.errors("inter_ocular").mean(1) == pytest.approx(expected, rel=1e-3)


def test_faces_without_a_box_are_missed() -> None:
    data = dataset()
    boxes = data.layout.face_box(data.points)
    boxes[1] = np.nan
    outcome = evaluate(Template(), data, boxes)
    assert list(outcome.found) == [True, False, True, True]
    assert summary(outcome)["failures_10"] == 25.0
    nobody = summary(evaluate(Template(), data, np.full((4, 4), np.nan)))
    assert nobody["missed"] == 4 and "nme" not in nobody and "sigma" not in nobody
    with pytest.raises(DataError, match="do not fit 4 faces"):
        evaluate(Template(), data, boxes[:2])


def test_disturbed_boxes() -> None:
    boxes = np.array([[10.0, 20.0, 40.0, 80.0]] * 50)
    moved = disturbed(boxes, shift=0.2, shrink=0.0, seed=1)
    assert np.linalg.norm(moved[:, :2] - boxes[:, :2], axis=1) == pytest.approx(0.2 * 80)
    assert len(np.unique(np.round(moved[:, 0], 3))) == 50
    assert disturbed(boxes, shift=0.2, shrink=0.0, seed=1) == pytest.approx(moved)
    assert disturbed(boxes, shift=0, shrink=0.1, seed=0)[0] == pytest.approx([12, 24, 36, 72])
    with pytest.raises(UsageError, match="shift"):
        disturbed(boxes, shift=-1, shrink=0, seed=0)
    with pytest.raises(UsageError, match="shrink"):
        disturbed(boxes, shift=0, shrink=1, seed=0)


# Pictures


def test_a_sheet_shows_the_worst_first() -> None:
    data = dataset(count=8)
    outcome = evaluate(Template(offset=(0.02, 0.0)), data)
    outcome.points[6] += 30
    page = sheet(outcome, "inter_ocular", 6)
    assert page.dtype == np.uint8 and page.shape[2] == 3
    first, last = page[40:330, 10:320], page[40:330, -320:-10]
    red = [((tile[..., 0] > 200) & (tile[..., 1] < 120) & (tile[..., 2] < 120)).sum() for tile in (first, last)]
    amber = [((tile[..., 0] > 220) & (tile[..., 1] > 150) & (tile[..., 2] < 120)).sum() for tile in (first, last)]
    assert min(red) > 50 and amber[0] > 3 * amber[1]


def test_pictures_are_written_once(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, 0] = (255, 0, 0)
    save_png(image, tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [0, 0, 255]
    with pytest.raises(SinkError, match="add --overwrite"):
        save_png(image, tmp_path / "a.png")
    save_png(image, tmp_path / "a.png", overwrite=True)
    with pytest.raises(SinkError, match=r"written as \.png"):
        save_png(image, tmp_path / "a.jpg")
    with pytest.raises(SinkError, match="not a folder"):
        save_png(image, tmp_path / "absent" / "a.png")


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outcome = evaluate(Template(offset=(0.02, 0.0)), dataset())
    save_curves([outcome], ["inter_ocular"], tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")).shape[2] == 3
    with pytest.raises(SinkError, match="cannot be written"):
        save_curves([outcome], ["inter_ocular"], tmp_path / "curves.unknown")


# The command, with a shipped model and real photographs


def test_the_command(faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", f"frl189:{faces_dir / 'frl189.zip'}", "--model", "fast", "--device", "cpu"]
    assert main(["eval", *data, "--json", "--sheet", str(tmp_path / "faces.png"), "--sheet-faces", "4"]) == 0
    report = json.loads(capsys.readouterr().out)
    (figures,) = report["results"]
    assert report["split"] == "val" and figures["faces"] == 6 and 0 < figures["nme"] < 15
    assert (tmp_path / "faces.png").stat().st_size > 10_000
    assert main(["eval", *data, "--shift", "0.2", "--shrink", "0.1"]) == 0
    text = capsys.readouterr().out
    assert "NME" in text and "by part" in text and "1 sigma" in text
    assert main(["eval", *data, "--sheet", str(tmp_path / "faces.png")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_the_commands_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["eval", "--data", f"300v:{tmp_path}"]) == 1
    assert "did you mean 300w" in capsys.readouterr().err
    assert main(["eval", "--task", "detect", "--data", "a", "--data", "b"]) == 2
    assert "takes one --data" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["eval", "--data", "300w:x", "--batch", "0"])
    assert caught.value.code == 2 and "at least 1" in capsys.readouterr().err


def test_the_parts_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["parts", "--map", str(tmp_path / "map.png")]) == 0
    text = capsys.readouterr().out
    assert "left_eye" in text and "eyes" in text and "300w" in text
    assert cv2.imread(str(tmp_path / "map.png")).shape[2] == 3
    assert main(["parts", "--json"]) == 0
    assert {"parts", "groups", "layouts"} <= set(json.loads(capsys.readouterr().out))
    assert main(["parts", "lips:4", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 4
    assert main(["parts", "lipz"]) == 2
    assert "did you mean lips" in capsys.readouterr().err


def test_positions_computed_by_the_command(faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = write_table(tmp_path / "made.csv", template_faces(load_layout("300w")))
    specs = [f"300w:{made}", f"frl189:{faces_dir / 'frl189.zip'}"]
    assert main(["parts", "--json", *(word for spec in specs for word in ("--fit", spec))]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["parts"]["outer_lip"]["length"] == 13
    assert len(content["positions"]) == 68 + 189
    assert main(["parts", "--fit", specs[1]]) == 1
    assert "starts from the mean shape of 300w" in capsys.readouterr().err


class _Finder:
    """A detector that sees every second picture, and something else first in each."""

    name = "finder"

    def __init__(self, data: Dataset) -> None:
        self._boxes = data.layout.face_box(data.points)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        found = []
        for frame in frames:
            boxes = np.array([[0.0, 0.0, 9.0, 9.0], self._boxes[frame.index] + np.array([2, 0, 0, 0])])
            boxes = boxes if frame.index % 2 == 0 else boxes[:1]
            found.append(Detections(boxes, np.linspace(0.9, 0.5, len(boxes)), np.zeros(len(boxes))))
        return found


def test_boxes_from_a_detector() -> None:
    """The find that lies on the annotated face is taken, not the first; where none does the face is missed."""
    data = dataset()
    boxes = _detected(_Finder(data), data)
    assert boxes[::2] == pytest.approx(data.layout.face_box(data.points)[::2] + np.array([2, 0, 0, 0]))
    assert np.isnan(boxes[1::2]).all()
    assert summary(evaluate(Template(), data, boxes))["missed"] == 2


def test_the_area_under_the_roc_curve_counts_pairs_in_order() -> None:
    positive = np.array([False, False, True, True])
    assert metrics.auroc(np.array([0.1, 0.2, 0.3, 0.4]), positive) == 1.0
    assert metrics.auroc(np.array([0.1, 0.3, 0.2, 0.4]), positive) == 0.75
    assert metrics.auroc(np.full(4, 0.5), positive) == 0.5
    assert np.isnan(metrics.auroc(np.ones(2), np.array([True, True])))


def test_probabilities_are_off_where_they_do_not_come_true() -> None:
    told = np.array([0.25, 0.25, 0.25, 0.25, 1.0])
    assert metrics.calibration_error(told, np.array([True, False, False, False, True])) == 0
    assert metrics.calibration_error(told, np.array([True, True, True, True, True])) == pytest.approx(0.6)
