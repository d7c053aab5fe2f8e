"""Measures on truth: projected heads whose turn is known, clips whose blinks, mouth and brows are known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from samples.make_samples import CLIPS, render
from tests.clips import write_clip
from tests.pipelines.measures.heads import rotation, turned
from tests.pipelines.results import make_face, make_result
from tests.pipelines.test_pipeline import QUERY, scene
from tests.pipelines.toys import ToyDetector, ToyModel, painter
from vtrack.cli.main import main
from vtrack.layouts import load_layout
from vtrack.measures import Measures
from vtrack.pipelines.measures.measurer import Measurer
from vtrack.pipelines.measures.points import MEASURE_QUERY, MEASURES
from vtrack.pipelines.measures.shapes import INDICES
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.track import track
from vtrack.types import FloatArray, FrameResult

SIZE = (640, 480)
SIGMA = np.ones((1, len(MEASURE_QUERY)))
FRAMES = 60


def from_68(points: FloatArray) -> FloatArray:
    """(..., 68, 2) in 300W order to the points of `MEASURE_QUERY`."""
    layout = load_layout("300w").query
    places = {(part, round(at, 6)): i for i, (part, at) in enumerate(zip(layout.parts, layout.positions, strict=True))}
    asked = zip(MEASURE_QUERY.parts, MEASURE_QUERY.positions, strict=True)
    return points[..., [places[part, round(at, 6)] for part, at in asked], :]


def measured_clip(name: str) -> tuple[dict[str, FloatArray], list[object]]:
    """Each measure over the frames of a sample clip, from its true points, and the true poses."""
    clip, measurer = CLIPS[name], Measurer()
    poses = [clip.faces[0](i / (FRAMES - 1)) for i in range(FRAMES)]
    rows = []
    for i in range(FRAMES):
        points = from_68(_points(name, i))
        rows.append(measurer.measure(points, SIGMA, SIZE, [1], i * clip.frames / FRAMES / 30)[0].measures.array)
    return dict(zip(MEASURES, np.array(rows).T, strict=True)), poses


def _points(name: str, i: int) -> FloatArray:
    from samples.make_samples import actors

    return actors()[0].points(CLIPS[name].faces[0](i / (FRAMES - 1)))[None]


def correlation(one: FloatArray, other: list[float]) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def test_blinks_are_seen_and_counted() -> None:
    measures, poses = measured_clip("blink")
    closed = np.array([pose.blink for pose in poses])
    assert correlation(measures["left_eye_open"], closed) < -0.95
    assert correlation(measures["right_eye_open"], closed) < -0.95
    assert measures["blinks"][-1] == 4
    assert measures["blink"][closed > 0.9].all() and not measures["blink"][closed < 0.1].any()


def test_openness_is_one_for_open_eyes_and_falls_with_blinks() -> None:
    measures, poses = measured_clip("blink")
    closed = np.array([pose.blink for pose in poses])
    for side in ("left", "right"):
        assert measures[f"{side}_openness"][closed < 0.05][5:] == pytest.approx(1, abs=0.15)
        assert correlation(measures[f"{side}_openness"], closed) < -0.9
        assert (measures[f"{side}_openness_sd"] > 0).all()


def test_what_the_eyes_do_comes_with_the_results_of_video_and_not_of_photographs() -> None:
    results = [make_measured(i, shut=i >= 30) for i in range(40)]
    measurer = Measurer()
    assert [event for result in results for event in measurer(result).events] == []
    (event,) = measurer.finish()
    assert event.face == 1 and event.kind == "closure" and not event.whole and measurer.finish() == ()
    (face,) = Measurer(photographs=True)(results[0]).faces
    assert np.isnan(face.measures["left_openness"]) and face.measures["left_eye_open"] > 0


def make_measured(index: int, shut: bool) -> FrameResult:
    """A result of a face that is seen from the front, whose eyes are open or shut."""
    points = turned(0, 0, 0)[0]
    for eye in (INDICES["left_eye"], INDICES["right_eye"]):
        first, last = points[eye[0]], points[eye[3]]
        for i, share, up in ((1, 0.3, -1), (2, 0.7, -1), (4, 0.7, 1), (5, 0.3, 1)):
            points[eye[i]] = first + share * (last - first) + (0, up * (0.32 if shut else 3.2))
    face = make_face(MEASURE_QUERY, points=points, raw=points)
    return make_result(index, face, query=MEASURE_QUERY)


def test_no_blink_where_there_is_none() -> None:
    for name in ("still", "mouth", "rotating"):
        assert measured_clip(name)[0]["blinks"][-1] == 0, name


def test_mouth_brows_and_smile_follow_the_face() -> None:
    measures, poses = measured_clip("mouth")
    assert correlation(measures["mouth_open"], [pose.mouth for pose in poses]) > 0.97
    assert correlation(measures["left_brow_raise"], [pose.brows for pose in poses]) > 0.95
    assert correlation(measures["right_brow_raise"], [pose.brows for pose in poses]) > 0.95
    assert correlation(measures["smile_width"], [pose.narrow for pose in poses]) < -0.9


def test_roll_is_exact_and_turns_are_followed() -> None:
    measures, poses = measured_clip("rotating")
    turns = [rotation(*angles) for angles in zip(*(measures[name] for name in ("yaw", "pitch", "roll")), strict=True)]
    for turn, pose in zip(turns, poses, strict=True):
        # The photograph's own pose aside, which is not straight: a roll on screen moves yaw and pitch, too.
        wrong = turn @ turns[0].T @ rotation(0, 0, pose.roll - poses[0].roll).T
        assert np.degrees(np.arccos((np.trace(wrong) - 1) / 2)) < 1.0
    measures, poses = measured_clip("turn")
    assert correlation(measures["yaw"], [pose.yaw for pose in poses]) > 0.97
    # The head of these clips is flatter than a head, so that a yaw looks like some pitch, too: here it hardly changes.
    aside = [i for i, pose in enumerate(poses) if abs(pose.yaw) > 25]
    assert correlation(measures["pitch"][aside], [poses[i].pitch for i in aside]) > 0.9


def test_measures_do_not_depend_on_the_faces_size_and_roll() -> None:
    points = from_68(render(CLIPS["still"], 0, 2).points)
    one = Measurer().measure(points, SIGMA, SIZE, [1], 0.0)[0].measures.array
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    other = Measurer().measure(((points - 240) @ turn.T * 0.5) + 240, SIGMA / 2, (480, 640), [1], 0.0)[0].measures.array
    same = [i for i, name in enumerate(MEASURES) if name not in ("yaw", "pitch", "roll")]
    assert other[same] == pytest.approx(one[same], rel=0.06, nan_ok=True)
    assert other[MEASURES.index("roll")] - one[MEASURES.index("roll")] == pytest.approx(90, abs=3)


def test_the_pipeline_measures_and_drops_the_points_it_measured(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "toys.mp4", 30, (240, 180), draw=painter(scene))
    results = list(track(clip, QUERY, model=ToyModel(), detector=ToyDetector(), smooth="none", measures=True))
    faces = [face for result in results for face in result.faces]
    assert faces and all(result.query == QUERY for result in results)
    for face in faces:
        assert len(face.points) == len(face.raw) == len(face.sigma) == len(QUERY) and face.query == QUERY
        assert tuple(face.measures) == MEASURES
        assert face.measures["blinks"] == 0


def test_the_table_has_a_column_for_each_measure(tmp_path: Path) -> None:
    values = np.arange(len(MEASURES)) + 0.25
    with WideTable(tmp_path / "t.csv", make_result(0).query, ["measures"]) as table:
        table.write(make_result(0, make_face(measures=Measures(MEASURES, values))))
        table.write(make_result(1))
    first, second = csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8"))
    assert [first[name] for name in MEASURES[:5]] == ["0.2500", "1.2500", "2", "3", "4.2500"]
    assert all(second[name] == "" for name in MEASURES)


def test_a_face_without_measures_says_what_to_do(tmp_path: Path) -> None:
    columns = ["measures"]
    with pytest.raises(ValueError, match="measures=True"), WideTable(tmp_path / "t.csv", QUERY, columns) as table:
        table.write(make_result(0, make_face()))


def test_settings_without_measures_ask_for_no_more_points() -> None:
    assert Settings(QUERY).landmark_query == QUERY
    assert Settings(QUERY, measures=True).landmark_query == QUERY + MEASURE_QUERY


def test_the_option_of_the_command_line(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "none.mp4", 3)
    table = tmp_path / "boxes.csv"
    table.write_text("frame,x,y,w,h\n")
    options = ["--detector", "boxes", "--detector-model", str(table), "--parts", "eyes", "--quiet", "--overwrite"]
    for more in (["--measures"], ["--columns", "raw,measures"], ["--columns", "raw", "--measures"]):
        assert main(["run", str(clip), *options, *more]) == 0
        header = (tmp_path / "none.vtrack.csv").read_text().splitlines()[0].split(",")
        assert header[-len(MEASURES) :] == list(MEASURES)
