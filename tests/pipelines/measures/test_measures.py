"""Measures on truth: projected heads whose turn is known, clips whose blinks, mouth and brows are known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from samples.make_samples import CLIPS, render
from tests.clips import write_clip
from tests.pipelines.results import make_face, make_result
from tests.pipelines.test_pipeline import QUERY, scene
from tests.pipelines.toys import ToyDetector, ToyModel, painter
from vtrack.cli.main import main
from vtrack.data.sources import load_dataset
from vtrack.layouts import load_layout
from vtrack.measures import Measures
from vtrack.pipelines.measures.head_pose import MEAN_FACE, RIGID, head_pose
from vtrack.pipelines.measures.measurer import Measurer
from vtrack.pipelines.measures.points import MEASURE_QUERY, MEASURES
from vtrack.pipelines.measures.shapes import LEFT_EYE, RIGHT_EYE
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


def turned(yaw: float, pitch: float, roll: float, middle: tuple[float, float] = (320, 240)) -> FloatArray:
    """(1, MEASURE_QUERY, 2) the mean face, 100 pixels between the eyes, turned and seen by a camera; other points are 0."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    focal, far = 640.0, 6.4
    offset = (np.array(middle) - (319.5, 239.5)) * far / focal
    space = MEAN_FACE @ (about_y @ about_x @ about_z).T + (*offset, far)
    points = np.zeros((1, len(MEASURE_QUERY), 2))
    points[0, RIGID] = space[:, :2] / space[:, 2:] * focal + (319.5, 239.5)
    return points


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, 0, 0), (-45, 10, 0), (0, 20, 0), (0, -15, 30), (20, 12, -60), (5, 5, 170)]
)
def test_a_turn_of_the_head_is_found_anywhere_in_the_frame(angles: tuple[float, float, float]) -> None:
    for middle in ((320, 240), (80, 400)):
        found, unit = head_pose(turned(*angles, middle), SIZE)
        assert found[0] == pytest.approx(angles, abs=0.1)
        assert unit[0] == pytest.approx(100, rel=0.01)


def test_a_positive_yaw_shows_the_nose_to_the_right_and_a_positive_pitch_lower() -> None:
    tip = RIGID[7]
    straight = turned(0, 0, 0)[0, tip]
    assert turned(20, 0, 0)[0, tip][0] > straight[0] + 5
    assert turned(0, 20, 0)[0, tip][1] > straight[1] + 5


def test_points_that_are_missing_make_no_pose() -> None:
    points = np.concatenate([turned(10, 0, 0), turned(10, 0, 0)])
    points[0, RIGID[3]] = np.nan
    angles, unit = head_pose(points, SIZE)
    assert np.isnan(angles[0]).all() and np.isnan(unit[0])
    assert angles[1, 0] == pytest.approx(10, abs=0.1)


def measured_clip(name: str) -> tuple[dict[str, FloatArray], list[object]]:
    """Each measure over the frames of a sample clip, from its true points, and the true poses."""
    clip, measurer = CLIPS[name], Measurer()
    poses = [clip.faces[0](i / (FRAMES - 1)) for i in range(FRAMES)]
    rows = []
    for i in range(FRAMES):
        points = from_68(_points(name, i))
        rows.append(measurer.measure(points, SIGMA, SIZE, [1], i * clip.frames / FRAMES / 30)[0])
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
    for eye in (LEFT_EYE, RIGHT_EYE):
        first, last = points[eye[0]], points[eye[3]]
        for i, share, up in ((1, 0.3, -1), (2, 0.7, -1), (4, 0.7, 1), (5, 0.3, 1)):
            points[eye[i]] = first + share * (last - first) + (0, up * (0.5 if shut else 5.0))
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
    wrong = measures["roll"] - [pose.roll for pose in poses]
    assert np.ptp(wrong) < 1.0  # the photograph's own tilt aside
    measures, poses = measured_clip("turn")
    assert correlation(measures["yaw"], [pose.yaw for pose in poses]) > 0.97
    assert correlation(measures["pitch"], [pose.pitch for pose in poses]) > 0.8


def test_measures_do_not_depend_on_the_faces_size_and_roll() -> None:
    points = from_68(render(CLIPS["still"], 0, 2).points)
    one = Measurer().measure(points, SIGMA, SIZE, [1], 0.0)[0]
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    other = Measurer().measure(((points - 240) @ turn.T * 0.5) + 240, SIGMA / 2, (480, 640), [1], 0.0)[0]
    same = [i for i, name in enumerate(MEASURES) if name not in ("yaw", "pitch", "roll")]
    assert other[same] == pytest.approx(one[same], rel=0.06, nan_ok=True)
    assert other[MEASURES.index("roll")] - one[MEASURES.index("roll")] == pytest.approx(90, abs=3)


@pytest.mark.data
def test_the_mean_face_is_what_a_fit_to_annotated_faces_gives(data_dir: Path) -> None:
    faces = load_dataset(f"w68:{data_dir / 'w68.zip'}", "train").points.astype(np.float64)
    shapes = from_68(faces)[:, RIGID]
    shapes = shapes - shapes.mean(1, keepdims=True)
    shapes /= np.sqrt(np.square(shapes).sum(-1).mean(1))[:, None, None]
    mirror = [3, 2, 1, 0, 4, 5, 6, 7, 12, 11, 10, 9, 8]
    # From a face of another depth, so that it has somewhere to go.
    mean = (MEAN_FACE - MEAN_FACE.mean(0)) * (1, 1, 1.3)
    for _ in range(60):
        free = np.linalg.lstsq(mean, shapes.transpose(1, 0, 2).reshape(len(mean), -1), rcond=None)[0]
        left, sizes, right = np.linalg.svd(free.reshape(3, -1, 2).transpose(1, 2, 0), full_matrices=False)
        views = (left @ right) * sizes.mean(-1)[:, None, None]  # (faces, 2, 3)
        errors = np.square(shapes - mean @ views.transpose(0, 2, 1)).sum((1, 2))
        good = errors < np.quantile(errors, 0.9)
        mean = np.linalg.lstsq(views[good].reshape(-1, 3), shapes[good].transpose(0, 2, 1).reshape(-1, 13), rcond=None)[
            0
        ].T
        mean = (mean + mean[mirror] * (-1, 1, 1)) / 2
        mean -= mean.mean(0)
    mean /= mean[3, 0] - mean[0, 0]
    # The axes of a fit are free to tilt; the shape is not.
    left, _, right = np.linalg.svd(mean.T @ (MEAN_FACE - MEAN_FACE.mean(0)))
    assert np.abs(mean @ (left @ right) - (MEAN_FACE - MEAN_FACE.mean(0))).max() < 0.01


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
