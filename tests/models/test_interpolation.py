"""Points between those that a network was taught are read off curves through these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from tests.faces import noise
from vtrack.anchors import ANCHORS
from vtrack.data import Dataset, load_dataset
from vtrack.data.sources import layout_of
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout, points_of
from vtrack.models import load_model, shipped
from vtrack.models.card import WEIGHTS, Card, read_card
from vtrack.models.decoding import interpolation as reading_module
from vtrack.models.decoding.interpolation import TaughtPositions, plan_query, taught_positions
from vtrack.models.engines.base import encode_query
from vtrack.models.export.standalone import FixedQueryNetwork, export
from vtrack.models.networks import load_network
from vtrack.parts import ENDS, PARTS
from vtrack.pipelines.bench.models import spread_query
from vtrack.query import parse_query
from vtrack.types import FloatArray, ImageArray, LandmarkModel, Query

FAST = TaughtPositions.of(read_card(WEIGHTS / "fast.json"))
TAUGHT = sorted({layout_of(name).name for name in read_card(WEIGHTS / "fast.json").data})


def learned(*names: str, held_out: bool = False) -> TaughtPositions:
    """What a network knows that has learned these layouts."""
    told = taught_positions((load_layout(name), held_out) for name in names)
    return TaughtPositions.of(Card("new", "udfld", "", {}, taught=told))


L68 = load_layout("300w")


@pytest.fixture
def directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point is asked for as it is."""
    monkeypatch.setattr(reading_module, "NEAR", 9.0)
    plan_query.cache_clear()


@pytest.fixture(autouse=True)
def forget() -> object:
    """No test reads by what another has made of a query."""
    yield
    plan_query.cache_clear()


@pytest.fixture(scope="module", params=["frl189", pytest.param("w68", marks=pytest.mark.data)])
def faces(request: pytest.FixtureRequest) -> Dataset:
    """Faces of a studio, and where w68 is at hand every tenth of its validation part."""
    if request.param == "w68":
        return load_dataset(f"w68:{request.getfixturevalue('data_dir')}/w68.zip", "val")[::10]
    return load_dataset(f"frl189:{request.getfixturevalue('faces_dir')}/frl189.zip", "val")


def cut(model: LandmarkModel, data: Dataset) -> tuple[ImageArray, FloatArray, FloatArray]:
    """Crops, the labels in them, and the distance between the eyes."""
    crops = Crops.around(data.layout.face_box(data.points), model.margin)
    images = warp([data.image(i) for i in range(len(data))], range(len(data)), crops, model.input_size)
    return images, crops.to_crop(data.points), data.layout.unit(data.points) / crops.sides


def along(part: str, positions: list[float]) -> Query:
    return Query((part,) * len(positions), tuple(positions))


@pytest.mark.parametrize("name", TAUGHT)
def test_a_taught_layout_is_asked_for_as_it_is(name: str) -> None:
    for query in (load_layout(name).query, load_layout(name).query + ANCHORS):
        assert plan_query(query, FAST).network_query == query
        assert plan_query(query, FAST).points is None


def test_taught_points_are_answered_as_the_network_does() -> None:
    model, query = load_model("fast", device="cpu", engine="torch"), load_layout("scut86").query
    images = noise(model, 2)
    parts, positions = (torch.from_numpy(array) for array in encode_query(query))
    with torch.inference_mode():
        output = model.network(torch.from_numpy(images), parts, positions)  # type: ignore[attr-defined]
    told = model.predict(images, query)
    np.testing.assert_array_equal(told.points, output.points[-1].numpy())
    np.testing.assert_array_equal(told.presence, output.presence.sigmoid().numpy())


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_points_between_the_taught_ones_are_as_good_as_those(name: str, faces: Dataset) -> None:
    model = load_model(name, device="cpu", engine="onnx")
    images, labels, eyes = cut(model, faces[:12])
    marked = faces.layout.query
    # The studio's jaw is marked from cheek to cheek only, its nose along two ridges, its inner lip not at the corners.
    words = "jaw:161,left_eye:60,right_eye:60,outer_lip:60,inner_lip:60,nose_bridge:61"
    query = parse_query(words if faces.layout.name == "300w" else "left_eye:60,right_eye:60,outer_lip:60")
    points, asked = model.predict(images, query).points, model.predict(images, marked).points
    between, taught = [], []
    for part in dict.fromkeys(query.parts):
        ids, known = query.indices(part), sorted(marked.indices(part), key=lambda i: marked.positions[i])
        knots, places = np.array([marked.positions[i] for i in known]), labels[:, known].transpose(1, 0, 2)
        closed = part not in ("jaw", "nose_bridge")
        if closed:
            knots, places = np.append(knots, 1), np.concatenate([places, places[:1]])
        curve = CubicSpline(knots, places, bc_type="periodic" if closed else "natural")
        true = curve(np.array(query.positions)[ids]).transpose(1, 0, 2)
        between.append((np.linalg.norm(points[:, ids] - true, axis=-1) / eyes[:, None]).mean())
        taught.append((np.linalg.norm(asked[:, known] - labels[:, known], axis=-1) / eyes[:, None]).mean())
    assert max(np.divide(between, taught)) < 1.35  # one part of a few faces
    assert np.mean(between) < 1.2 * np.mean(taught)


@pytest.mark.data
@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_a_format_that_was_never_seen_is_better_for_curves(name: str, data_dir: Path) -> None:
    model = load_model(name, device="cpu", engine="onnx")
    for spec in ("wflw:{}/formats/wflw/test_wflw.json", "lapa106:{}/formats/lapa/test_lapa.json"):
        data = load_dataset(spec.format(data_dir), "val")
        images, labels, eyes = cut(model, data)
        query, network = (
            data.layout.query,
            load_network(read_card(WEIGHTS / f"{name}.json"), WEIGHTS / f"{name}.safetensors"),
        )
        parts, positions = (torch.from_numpy(array) for array in encode_query(query))
        with torch.inference_mode():
            asked = network(torch.from_numpy(images), parts, positions).points[-1].numpy()
        off = [
            np.nanmean(np.linalg.norm(points - labels, axis=-1) / eyes[:, None])
            for points in (model.predict(images, query).points, asked)
        ]
        assert off[0] < off[1]


def test_taught_points_of_a_dense_query_are_where_a_short_one_has_them(faces: Dataset) -> None:
    model = load_model("fast", device="cpu", engine="onnx")
    images, _, eyes = cut(model, faces)
    query = parse_query("outer_lip:60,jaw:161")
    taught_ones = [i for i in range(len(query)) if query.positions[i] * (12 if i < 60 else 16) % 1 < 1e-9]
    asked = [i for i, part in enumerate(L68.query.parts) if part in ("outer_lip", "jaw")]
    order = sorted(asked, key=lambda i: (L68.query.parts[i] == "jaw", L68.query.positions[i]))
    assert len(taught_ones) == len(order) == 29
    gap = model.predict(images, query).points[:, taught_ones] - model.predict(images, L68.query).points[:, order]
    gap = np.linalg.norm(gap, axis=-1) / eyes[:, None]
    # Not quite the same, for points attend to all others of their query.
    assert gap.mean() < 0.002
    assert gap.max() < 0.01


@pytest.mark.usefixtures("directly")
def test_asked_for_directly_untaught_points_are_worse(faces: Dataset) -> None:
    """Why there are curves: were a model as good between taught positions, they would only save time."""
    model = load_model("fast", device="cpu", engine="onnx")
    images, _, eyes = cut(model, faces)
    between = model.predict(images, along("nose_bridge", [1 / 3, 1 / 2, 2 / 3])).points
    off = np.linalg.norm(between[:, 1] - between[:, [0, 2]].mean(1), axis=-1) / eyes
    assert off.mean() > 0.03


def test_a_thousand_points_are_fewer_questions_than_98() -> None:
    assert len(plan_query(spread_query(1000), FAST).network_query) < 98


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_order_and_repeats_do_not_matter(engine: str) -> None:
    model = load_model("fast", device="cpu", engine=engine)
    images, query = noise(model, 2), parse_query("left_eye:50,jaw@0.1..0.3:60,left_brow:4")
    mixed = [*np.random.default_rng(1).permutation(len(query)), 7, 7, 100]
    again = Query(tuple(query.parts[i] for i in mixed), tuple(query.positions[i] for i in mixed))
    one, other = model.predict(images, query), model.predict(images, again)
    np.testing.assert_allclose(other.points, one.points[:, mixed], atol=1e-4)
    np.testing.assert_allclose(other.sigma, one.sigma[:, mixed], rtol=1e-2)
    np.testing.assert_array_equal(other.points[:, -3], other.points[:, -2])
    assert one.points.dtype == one.sigma.dtype == np.float32


def test_engines_agree_and_a_face_in_a_batch_is_answered_as_alone() -> None:
    onnx, by_torch = (load_model("fast", device="cpu", engine=engine) for engine in ("onnx", "torch"))
    images, query = noise(onnx, 3), spread_query(1000)
    together, alone, other = (
        onnx.predict(images, query),
        onnx.predict(images[1:2], query),
        by_torch.predict(images, query),
    )
    np.testing.assert_allclose(together.points[1], alone.points[0], atol=1e-4)
    np.testing.assert_allclose(together.points, other.points, atol=2e-3)
    assert together.sigma.min() > 0


def test_no_crops() -> None:
    for engine in ("onnx", "torch"):
        model = load_model("fast", device="cpu", engine=engine)
        told = model.predict(noise(model, 0), spread_query(1000))
        assert told.points.shape == (0, 1000, 2)
        assert told.sigma.shape == (0, 1000)


def test_weights() -> None:
    query = parse_query("face:900,irises:200,hairline:80,chin:50")
    plan = plan_query(query, FAST)
    assert plan.points is not None and plan.sigma is not None
    assert plan.points.shape == plan.sigma.shape == (len(query), len(plan.network_query))
    np.testing.assert_allclose(plan.points.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(plan.sigma.sum(1), 1, atol=1e-5)
    assert plan.sigma.min() >= 0
    for part in dict.fromkeys(query.parts):
        own = {part, *(end for end, _ in ENDS.get(part, {}).values())}
        others = [i for i, name in enumerate(plan.network_query.parts) if name not in own]
        assert not plan.points[np.ix_(query.indices(part), others)].any()
    few = query.indices("left_pupil")
    assert {plan.network_query.positions[i] for i in plan.points[few].argmax(1)} == {
        0.0
    }  # the only one that data sets mark
    np.testing.assert_array_equal(plan.points[few], plan.sigma[few])


def test_weights_are_those_of_a_cubic_hermite_spline() -> None:
    knots = np.array([0.0, 0.1, 0.35, 0.6, 1.0])
    at = np.linspace(-0.2, 1.2, 57)
    slopes = np.gradient(np.eye(5), knots, axis=0)
    spline = CubicHermiteSpline(knots, np.eye(5), slopes)
    expected = spline(at.clip(0, 1)) + (at - at.clip(0, 1))[:, None] * spline(at.clip(0, 1), 1)
    np.testing.assert_allclose(reading_module.smooth_weights(PARTS["jaw"], knots, at), expected, atol=1e-13)


def test_a_part_of_one_position_has_all_its_points_there() -> None:
    plan = plan_query(along("left_pupil", [i / 49 for i in range(50)]), FAST)
    assert plan.network_query == along("left_pupil", [0.0])
    assert plan.points is not None
    np.testing.assert_array_equal(plan.points, np.ones((50, 1)))


def test_a_closed_part_ends_where_it_starts() -> None:
    plan = plan_query(along("outer_lip", [i / 60 for i in range(61)]), FAST)
    assert plan.points is not None and plan.sigma is not None
    np.testing.assert_allclose(plan.points[0], plan.points[-1], atol=1e-6)
    np.testing.assert_allclose(plan.sigma[0], plan.sigma[-1], atol=1e-6)
    # As smooth there as elsewhere.
    bend = np.abs(np.diff(plan.points[[-3, -2, 0, 1, 2]], 2, axis=0)).max()
    assert bend <= np.abs(np.diff(plan.points, 2, axis=0)).max() + 1e-6


def test_beyond_its_outermost_knot_a_curve_goes_straight_on() -> None:
    plan = plan_query(along("hairline", [i / 90 for i in range(9)]), FAST)
    assert plan.points is not None and plan.sigma is not None
    first = min(FAST.knots["hairline"])
    assert first > 8 / 90
    np.testing.assert_allclose(np.diff(plan.points, 2, axis=0), 0, atol=1e-6)
    nearest = plan.network_query.positions.index(first)
    np.testing.assert_array_equal(plan.sigma[:, nearest], 1)


def test_the_chin_ends_at_its_crease_and_at_the_jaw() -> None:
    plan = plan_query(along("chin", [0.0, 1 / 3, 1.0]), FAST)
    assert plan.points is not None
    told = [points_of(plan.network_query)[int(row.argmax())] for row in plan.points]
    assert told == [("chin_crease", 0.5), ("chin", pytest.approx(1 / 3, abs=1e-5)), ("jaw", 0.5)]
    np.testing.assert_allclose(plan.points.max(1), 1, atol=1e-6)


def test_the_middle_of_a_brow_lies_between_its_edges() -> None:
    plan = plan_query(parse_query("left_brow_center,jaw:17,right_brow_center"), FAST)
    assert plan.points is not None and plan.sigma is not None
    parts = [plan.network_query.parts[i] for i in np.flatnonzero(plan.points[0])]
    assert set(parts) == {"left_brow"}
    np.testing.assert_allclose(plan.points.sum(1), 1, atol=1e-6)
    curve = plan_query(along("left_brow", [2 / 9, 6.7 / 9, 0.37]), FAST)
    assert curve.points is not None
    places = {point: i for i, point in enumerate(points_of(plan.network_query))}
    columns = [places[point] for point in points_of(curve.network_query) if point in places]
    known = [i for i, point in enumerate(points_of(curve.network_query)) if point in places]
    np.testing.assert_allclose(plan.points[0, columns], curve.points[:2, known].mean(0), atol=1e-6)
    marked = TaughtPositions({**FAST.marked, "left_brow_center": (0.0,)}, {**FAST.knots, "left_brow_center": (0.0,)})
    assert plan_query(along("left_brow_center", [0.0]), marked).network_query.parts == ("left_brow_center",)


def test_left_and_right_have_the_same_knots_mirrored() -> None:
    for part, other, pivot in (("left_brow", "right_brow", 4 / 9), ("left_eye", "right_eye", 0.5), ("jaw", "jaw", 1.0)):
        one, two = (
            plan_query(along(name, [i / 99 for i in range(100)]), FAST).network_query.positions
            for name in (part, other)
        )
        np.testing.assert_allclose(sorted(round((pivot - p) % 1.0001, 3) for p in one), two, atol=2e-3)


def test_what_no_data_set_marks_is_asked_for_as_it_is() -> None:
    query = parse_query("left_iris:80")
    for taught in (learned(), learned("300w"), learned("helen29")):
        assert plan_query(query, taught).network_query == query
    query = along('"tip of a beard"', [i / 79 for i in range(80)])
    assert plan_query(query, FAST).network_query == query


def test_a_model_of_one_layout_reads_its_points_off_curves_already() -> None:
    query = spread_query(1000)
    for name in set(shipped()) - {"fast", "accurate"}:
        assert plan_query(query, TaughtPositions.of(read_card(WEIGHTS / f"{name}.json"))).network_query == query


def test_a_model_has_knots_where_its_own_data_have_them() -> None:
    query = along("left_eye", [i / 60 for i in range(60)])
    assert plan_query(query, learned("wflw")).network_query.positions == tuple(i / 8 for i in range(8))
    both = plan_query(query, learned("300w", "wflw"))
    np.testing.assert_allclose(both.network_query.positions, [i / 6 for i in range(6)], atol=1e-6)
    held_out = plan_query(L68.query, learned("300w", held_out=True))
    assert held_out.network_query.positions[: len(held_out.network_query.indices("jaw"))] == tuple(
        i / 8 for i in range(9)
    )


def test_a_file_for_other_programs_reads_curves_too(tmp_path: Path) -> None:
    card, query = read_card(WEIGHTS / "fast.json"), parse_query("outer_lip:60,left_pupil")
    model = load_model("fast", device="cpu", engine="torch")
    baked = FixedQueryNetwork(load_network(card, WEIGHTS / "fast.safetensors"), card, query)
    images = noise(model, 1)
    told = model.predict(images, query)
    with torch.inference_mode():
        points, sigma, _, hidden = baked(torch.from_numpy(images[0].transpose(1, 2, 0)))
    np.testing.assert_allclose(points.numpy(), told.points[0], atol=1e-4)
    np.testing.assert_allclose(sigma.numpy(), told.sigma[0], rtol=1e-3)
    assert told.hidden is not None
    np.testing.assert_allclose(hidden.numpy(), told.hidden[0], atol=1e-3)
    assert export("fast", query, "onnx", tmp_path / "lip.onnx").points == 61


def test_a_single_point_takes_as_many_questions_as_its_curve_has_neighbours() -> None:
    plan = plan_query(along("nose_bridge", [0.5]), FAST)
    assert 1 < len(plan.network_query) <= 4
    assert set(plan.network_query.parts) == {"nose_bridge"}
