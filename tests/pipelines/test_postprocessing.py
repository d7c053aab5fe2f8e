"""The last check before outputs: nothing that is not finite or far beyond the frame gets through."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vtrack
from tests.clips import write_clip
from tests.pipelines.results import make_face, make_result
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.anchors import ANCHORS, box_around
from vtrack.cli.run import describe
from vtrack.pipelines.postprocessing import to_result, without_absurd
from vtrack.pipelines.smoothing import smoother
from vtrack.pipelines.smoothing.motion import FilteredPoints
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.types import Face, Query

QUERY = Query(("left_eye", "left_eye"), (0.0, 0.5)) + ANCHORS
ABSURD = [np.nan, np.inf, -np.inf, -2.3e12, 1e300, 64 + 4 * 64 + 1]


def face(**changes: object) -> Face:
    """A face with a box of its own, on a frame of 64 by 48 pixels."""
    return make_face(QUERY, at=5.0, **changes)


def test_smoothing_begins_with_what_tables_hold() -> None:
    points = np.random.default_rng(0).uniform(0, 48, (len(QUERY), 2))
    sighting = Sighting(points, points[:, 0] / 10, 0.9, box_around(points[2:]), 0.1)
    frame = make_result(0).frame
    (shown,) = to_result(frame, {3: sighting}, QUERY).faces
    np.testing.assert_array_equal(shown.raw, points.round(3))
    np.testing.assert_array_equal(shown.box, box_around(points.round(3)[2:]))
    # What is read from a text is the same to the last bit.
    read = np.array([[float(f"{value:.3f}") for value in row] for row in np.column_stack([points, sighting.sigma])])
    np.testing.assert_array_equal(shown.unsmoothed, read)
    again = Sighting(read[:, :2], read[:, 2], 0.9, shown.box, 0.1)
    np.testing.assert_array_equal(to_result(frame, {3: again}, QUERY).faces[0].unsmoothed, read)


def test_a_sound_result_passes_as_it_is() -> None:
    result = make_result(0, face(), face(number=2), query=QUERY)
    assert without_absurd(result) is result
    empty = make_result(0, query=QUERY)
    assert without_absurd(empty) is empty


@pytest.mark.parametrize("value", ABSURD)
def test_an_absurd_point_becomes_the_raw_one_without_sigma(value: float) -> None:
    sound = face()
    points = sound.points.copy()
    points[1, 0] = value
    (checked,) = without_absurd(make_result(0, face(points=points), query=QUERY)).faces
    np.testing.assert_array_equal(checked.points[1], sound.raw[1])
    assert np.flatnonzero(np.isnan(checked.sigma)).tolist() == [1]
    np.testing.assert_array_equal(np.delete(checked.points, 1, 0), np.delete(sound.points, 1, 0))


@pytest.mark.parametrize("value", ABSURD)
def test_an_absurd_point_whose_raw_one_is_absurd_becomes_nan(value: float) -> None:
    points, raw = face().points.copy(), face().raw.copy()
    points[1], raw[1] = value, value
    (checked,) = without_absurd(make_result(0, face(points=points, raw=raw), query=QUERY)).faces
    assert np.isnan(checked.points[1]).all() and np.isnan(checked.sigma[1])


@pytest.mark.parametrize("value", [*ABSURD, -1.0])
def test_an_absurd_sigma_becomes_nan(value: float) -> None:
    sigma = face().sigma.copy()
    sigma[0] = value
    (checked,) = without_absurd(make_result(0, face(sigma=sigma), query=QUERY)).faces
    np.testing.assert_array_equal(checked.points[0], face().raw[0])
    assert np.flatnonzero(np.isnan(checked.sigma)).tolist() == [0]


@pytest.mark.parametrize(
    "box", [[1e9, 5, -3, np.nan], [np.nan, 5, 6, 7], [5, np.nan, 6, 7], [5, 5, np.nan, 7], [5, 5, 6, 0], [5, 5, 6, 1e3]]
)
def test_an_absurd_box_becomes_that_of_the_anchors(box: list[float]) -> None:
    (checked,) = without_absurd(make_result(0, face(box=np.array(box)), query=QUERY)).faces
    anchors = checked.points[2:]
    np.testing.assert_array_equal(checked.box, [*anchors.min(0), *np.ptp(anchors, axis=0)])


def test_a_face_of_which_nothing_is_known_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = np.full((len(QUERY), 2), np.nan)
    lost = face(number=7, points=nowhere, raw=nowhere, box=np.full(4, np.nan))
    with caplog.at_level(logging.WARNING):
        (kept,) = without_absurd(make_result(3, face(), lost, query=QUERY)).faces
    assert kept.id == 1 and "frame 3: face 7 is left out" in caplog.text


def test_a_run_counts_absurd_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smoothed: Callable[[Face, int, FilteredPoints], Face] = smoother._smoothed

    def broken(face: Face, slot: int, filtered: FilteredPoints) -> Face:
        result = smoothed(face, slot, filtered)
        result.points[0] = -2.3e12
        return result

    monkeypatch.setattr(smoother, "_smoothed", broken)
    clip = write_clip(tmp_path / "a.mp4", 10, (240, 180), draw=painter(lambda i: [ToyFace((90, 90), 50)]))
    toys = {"model": ToyModel(), "detector": ToyDetector()}
    outputs = {name: tmp_path / f"a.{name}" for name in ("csv", "jsonl", "parquet")}
    summary = vtrack.run(clip, "lips", video=tmp_path / "b.mp4", measures=True, **outputs, **toys)
    assert summary.absurd == 10
    assert "10 absurd points replaced" in repr(summary)
    assert ", 10 absurd points replaced\n" in describe("a.mp4", summary, outputs, "toy")
    assert json.loads((tmp_path / "a.csv.meta.json").read_text())["counts"]["absurd"] == 10
    for name in ("csv", "parquet"):
        table = vtrack.read_table(outputs[name])
        points, sigma = table.to_numpy(), table.to_numpy("sigma")
        assert np.nanmax(np.abs(points)) < 240 and np.isnan(sigma[:, 0, 0]).all() and np.isfinite(sigma[:, 0, 1:]).all()
    assert "null" in outputs["jsonl"].read_text() and "e+" not in outputs["jsonl"].read_text()
