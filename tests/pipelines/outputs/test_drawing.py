"""Drawing: curves pass through their points and join the right ones; every face is visible, and frames do not change."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.pipelines.measures.heads import SIZE, turned
from tests.pipelines.results import make_face, make_result
from vtrack.imaging.planes import BT601, BT709, Colours, Planes, film_colours
from vtrack.layouts import load_layout
from vtrack.measures import HeadPose
from vtrack.options import split_names
from vtrack.parts import PARTS
from vtrack.pipelines.measures.head_pose import fit_heads
from vtrack.pipelines.measures.pose import EYES, head_poses
from vtrack.pipelines.outputs.drawing.curves import part_splines
from vtrack.pipelines.outputs.drawing.drawing import AXIS, Drawing
from vtrack.pipelines.outputs.drawing.palette import AXIS_COLORS, part_color, track_color
from vtrack.pipelines.registry import DRAWINGS
from vtrack.types import Face, FloatArray, ImageArray, Query

GREY = 90


def part_query(part: str, positions: list[float]) -> Query:
    return Query((part,) * len(positions), tuple(positions))


def even(part: str, count: int) -> Query:
    return part_query(part, list(PARTS[part].positions(count)))


def on_circle(query: Query, middle: tuple[float, float] = (320.0, 240.0), radius: float = 100.0) -> FloatArray:
    """Points of a query on a circle, by their positions."""
    turn = 2 * np.pi * np.array(query.positions)
    return np.stack([middle[0] - radius * np.cos(turn), middle[1] - radius * np.sin(turn)], 1)


def circle_face(query: Query, size: float = 200.0, **changes: object) -> Face:
    middle = (320.0, 240.0)
    facts = {
        "points": on_circle(query, middle, size / 2),
        "sigma": np.full(len(query), 0.005 * size),
        "box": np.array([middle[0] - size / 2, middle[1] - size / 2, size, size]),
        **changes,
    }
    return make_face(query, **facts)


def draw(face: Face, kinds: str = "points,curves", shape: tuple[int, int] = (480, 640), grey: int = GREY) -> ImageArray:
    image = np.full((*shape, 3), grey, np.uint8)
    return Drawing(face.query, split_names(kinds))(make_result(0, face, image=image, query=face.query))


def changed(image: ImageArray, grey: int = GREY) -> np.ndarray:
    """(H, W) difference of each pixel from the empty image."""
    return np.abs(image.astype(int) - grey).max(2)


# Which points are joined, and how.


def ends(query: Query) -> list[tuple[int, int]]:
    """First and last point of each curve."""
    curves = part_splines(query)
    starts, stops = curves.starts[:-1], curves.starts[1:] - 1
    return list(zip(curves.neighbours[starts, 1].tolist(), curves.neighbours[stops, 2].tolist(), strict=True))


@pytest.mark.parametrize("part", ["left_eye", "outer_lip", "right_brow"])
@pytest.mark.parametrize("count", [4, 9, 40])
def test_a_closed_part_is_closed_if_the_query_covers_it(part: str, count: int) -> None:
    assert ends(even(part, count)) == [(0, 0)]


def test_a_section_of_a_closed_part_stays_open() -> None:
    assert ends(part_query("left_eye", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])) == [(0, 5)]
    # Given out of order and across the seam at 0.
    assert ends(part_query("left_eye", [0.1, 0.8, 0.9, 0.0])) == [(1, 0)]
    assert ends(part_query("left_eye", [0.0, 0.05, 0.1, 0.5, 0.55, 0.6])) == [(0, 2), (3, 5)]


def test_an_open_part_stays_open_and_gaps_are_not_bridged() -> None:
    assert ends(even("jaw", 17)) == [(0, 16)]
    assert ends(part_query("jaw", [0.0, 0.05, 0.1, 0.9, 0.95, 1.0])) == [(0, 2), (3, 5)]


def test_single_points_make_no_curve() -> None:
    assert ends(part_query("left_eye", [0.0, 0.5])) == []
    assert ends(Query(("left_pupil", "nose_bridge"), (0.0, 1.0))) == []
    assert ends(part_query("jaw", [0.5, 0.5])) == []


def test_an_unknown_part_makes_an_open_curve() -> None:
    assert ends(part_query("scar on the cheek", [0.0, 0.5, 1.0])) == [(0, 2)]


def test_all_of_300w() -> None:
    assert len(ends(load_layout("300w").query)) == 9


def test_curves_pass_through_their_points_and_are_smooth() -> None:
    query = even("right_brow", 12)
    points = on_circle(query)
    line = part_splines(query).evaluate(points)
    assert np.hypot(*(line[:, None] - points[None]).transpose(2, 0, 1)).min(0).max() < 1e-9
    assert np.abs(np.hypot(*(line - (320, 240)).T) - 100).max() < 0.4  # a circle through twelve points
    steps = np.diff(line, axis=0)
    turns = np.diff(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])))
    assert np.abs(turns).max() < 0.35


def test_corners_of_eyes_stay_sharp() -> None:
    query = even("left_eye", 6)
    eye = np.array([[0, 0], [30, -12], [70, -12], [100, 0], [70, 12], [30, 12.0]])
    line = part_splines(query).evaluate(eye)
    assert line[:, 0].min() == 0 and line[:, 0].max() == 100  # no bulge beyond the corners


def test_values_are_interpolated_along_a_curve() -> None:
    query = even("jaw", 3)
    along = part_splines(query).interpolate(np.array([0.0, 1.0, 0.5]))
    assert along[0] == 0 and along[-1] == 0.5 and along.max() == 1
    assert np.abs(np.diff(along)).max() < 0.06


# What the picture shows.


def test_without_faces_the_image_itself_is_returned() -> None:
    query = even("jaw", 5)
    empty = make_result(0, query=query)
    assert Drawing(query)(empty) is empty.frame.image
    full = make_result(0, make_face(query), query=query)
    assert Drawing(query, ())(full) is full.frame.image


def test_drawing_does_not_change_the_frame() -> None:
    face = circle_face(even("jaw", 17))
    result = make_result(0, face, image=np.full((480, 640, 3), GREY, np.uint8), query=face.query)
    assert changed(Drawing(face.query)(result)).max() > 60
    assert (result.frame.image == GREY).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_lines_are_visible_on_every_background(grey: int) -> None:
    difference = changed(draw(circle_face(even("jaw", 17)), "curves", grey=grey), grey)
    for turn in np.linspace(0.1, 2 * np.pi - 0.1, 50):
        x, y = round(320 - 100 * np.cos(turn)), round(240 - 100 * np.sin(turn))
        assert difference[y - 2 : y + 3, x - 2 : x + 3].max() > 70
    assert difference[200:280, 280:360].max() == 0


def test_each_part_has_its_colour() -> None:
    image = draw(circle_face(even("outer_lip", 12)), "curves")
    lines = image[changed(image) > 100]
    assert np.abs(np.median(lines, 0) - part_color("outer_lip")).max() < 12


@pytest.mark.parametrize("size", [40, 60, 100, 180, 300, 420])
def test_line_width_grows_smoothly_with_the_face(size: int) -> None:
    """The line's area over its length, measured from how much of the picture it covers."""

    def width(size: float) -> float:
        query = even("jaw", 60)
        face = circle_face(query, size)
        image = draw(face, "curves", grey=0)
        color = np.array(part_color("jaw"))
        around = on_circle(query, radius=size / 2)
        length = float(np.hypot(*np.diff(around, axis=0).T).sum())
        return float((image.astype(float) @ color / (color @ color)).sum()) / length

    assert width(size) == pytest.approx(1.05 + 0.00875 * size, rel=0.06)
    assert abs(width(size + 2) - width(size)) < 0.06 * width(size)


def test_uncertain_points_and_predicted_faces_are_faint() -> None:
    query = even("jaw", 17)
    sure = changed(draw(circle_face(query))).sum()
    doubtful = changed(draw(circle_face(query, sigma=np.full(17, 30.0)))).sum()
    unseen = changed(draw(circle_face(query, measured=False))).sum()
    assert 0 < doubtful < 0.5 * sure
    assert doubtful < unseen < 0.7 * sure


def test_a_line_fades_along_its_length() -> None:
    query = even("jaw", 17)
    difference = changed(draw(circle_face(query, sigma=np.linspace(0, 40, 17)), "curves"))
    assert (
        difference[:240, :320].sum() > 2 * difference[240:, :320].sum() > 0
    )  # it begins at the left and goes over the top


def test_each_kind_draws_its_own_shapes() -> None:
    face = circle_face(even("jaw", 5), box=np.array([200.0, 100, 240, 280]))
    area = {kind: changed(draw(face, kind)) > 30 for kind in DRAWINGS}
    corner = np.s_[95:130, 195:230]
    assert area["boxes"][corner].any() and not area["curves"][corner].any() and not area["points"][corner].any()
    assert area["ids"][60:100, 200:240].any() and not area["boxes"][60:96, 200:240].any()
    assert 0 < area["points"].sum() < area["curves"].sum()
    everything = changed(draw(face, ",".join(DRAWINGS))) > 30
    assert everything.sum() > area["curves"].sum() + area["boxes"].sum()


def posed(yaw: float, pitch: float, roll: float) -> HeadPose:
    """A head of which the middle between the eyes is at (319.5, 239.5)."""
    points = turned(yaw, pitch, roll, (319.5, 239.5))
    (pose,) = head_poses(fit_heads(points, np.ones(points.shape[:2]), SIZE)[0], EYES)
    return pose


@pytest.mark.parametrize(
    ("turn", "ends"),
    [
        ((0, 0, 0), {0: (1, 0), 1: (0, 1)}),
        ((0, 0, 90), {0: (0, 1), 1: (-1, 0)}),
        ((40, 0, 0), {1: (0, 1), 2: (0.65, 0)}),
        ((0, -40, 0), {0: (1, 0), 2: (0, -0.65)}),
    ],
)
def test_axes_turn_with_the_head(turn: tuple[float, float, float], ends: dict[int, tuple[float, float]]) -> None:
    """Nearly to the tip of each axis, which perspective makes a little longer or shorter, there is its colour."""
    image = draw(circle_face(even("jaw", 5), pose=posed(*turn)), "axes").astype(int)
    for axis, direction in ends.items():
        x, y = np.rint(np.array([319.5, 239.5]) + 0.82 * AXIS * 200 * np.array(direction)).astype(int)
        near = image[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3)
        assert np.abs(near - AXIS_COLORS[axis]).max(1).min() < 60


def test_no_axis_ends_behind_a_wide_camera() -> None:
    """A head that looks up a little, and fills the view of a camera of 150 degrees: z is drawn upwards."""
    points = turned(0, -20, 0, (319.5, 239.5))
    (pose,) = head_poses(fit_heads(points, np.ones(points.shape[:2]), SIZE, fov=150)[0], EYES)
    image = draw(circle_face(even("jaw", 5), pose=pose), "axes").astype(int)
    rows, columns = np.nonzero(np.abs(image - AXIS_COLORS[2]).max(2) < 60)
    assert len(rows) > 50 and rows.max() < 260 and rows.min() < 220 and np.abs(columns - 319.5).max() < 30


def test_numbers_stay_in_the_frame() -> None:
    face = circle_face(even("jaw", 5), box=np.array([-30.0, -40, 240, 280]))
    assert (changed(draw(face, "ids")) > 60)[:40, :60].sum() > 100


def test_faces_outside_the_frame() -> None:
    query = even("jaw", 17)
    outside = circle_face(query, points=on_circle(query) + 5000)
    assert changed(draw(outside)).max() == 0
    half = circle_face(query, points=on_circle(query, (640.0, 0.0)))
    assert changed(draw(half)).max() > 60
    broken = circle_face(query, points=np.full((17, 2), np.nan))
    assert changed(draw(broken)).max() == 0
    tiny = circle_face(query, box=np.array([320.0, 240.0, 0.0, 0.0]), sigma=np.zeros(17))
    assert changed(draw(tiny)).max() > 60
    far = on_circle(query)
    far[8] = (1e7, -1e7)
    assert changed(draw(circle_face(query, points=far))).max() > 60


def test_a_missing_point_affects_only_its_neighbours() -> None:
    query = even("jaw", 17)
    points = on_circle(query)
    points[4] = np.nan
    difference = changed(draw(circle_face(query, points=points)))
    whole = changed(draw(circle_face(query)))
    assert difference[240:, :].sum() > 0.8 * whole[240:, :].sum()
    assert difference[0:20, 0:20].max() == 0
    # No line runs from the neighbours to the place of the missing one.
    assert not difference[whole == 0].any()


def test_points_without_any_sigma_are_drawn_in_full() -> None:
    query = even("jaw", 17)
    sure, unknown = (draw(circle_face(query, sigma=np.full(17, sigma))) for sigma in (0.01, np.nan))
    np.testing.assert_array_equal(sure, unknown)
    one = np.full(17, np.nan)
    one[0] = 0.01
    assert changed(draw(circle_face(query, sigma=one))).sum() < 0.5 * changed(sure).sum()


@pytest.mark.parametrize("shape", [(240, 320), (2160, 3840)])
def test_small_and_large_frames(shape: tuple[int, int]) -> None:
    query = load_layout("300w").query
    height, width = shape
    size = 0.5 * height
    points = on_circle(query, (width / 2, height / 2), size / 2)
    face = make_face(query, points=points, sigma=np.full(68, 0.01 * size), box=np.array([width / 2, size, size, size]))
    share = (changed(draw(face, "curves", shape)[::3, ::3]) > 40).mean()
    assert 0.002 < share < 0.05


def test_colours_are_far_apart() -> None:
    face = ["jaw", "left_brow", "left_eye", "nose_bridge", "outer_lip", "left_pupil"]
    colors = np.array([part_color(part) for part in face], float)
    apart = np.abs(colors[:, None] - colors[None]).sum(2) + 1000 * np.eye(len(face))
    assert apart.min() > 80
    assert part_color("left_eye") != part_color("right_eye")
    assert part_color("a scar") == part_color("a scar") != part_color("a mole")
    assert len({track_color(i) for i in range(30)}) == 30


def test_drawing_is_fast() -> None:
    # A face of 256 pixels takes 0.9 ms on one core; 20 ms means a loop over pixels or points.
    query = load_layout("300w").query
    face = make_face(query, points=on_circle(query, radius=128), box=np.array([192.0, 112, 256, 256]))
    result = make_result(0, face, image=np.zeros((720, 1280, 3), np.uint8), query=query)
    drawing = Drawing(query)
    drawing(result)
    began = time.thread_time()
    for _ in range(10):
        drawing(result)
    assert (time.thread_time() - began) / 10 < 0.02


# On pictures as video stores them.


def in_planes(image: ImageArray, colours: Colours) -> Planes:
    """An RGB image as planes."""
    whole = np.rint(image @ colours.from_rgb[:, :3].T + colours.from_rgb[:, 3])
    luma, blue, red = np.clip(whole, 0, 255).astype(np.uint8).transpose(2, 0, 1)
    half = [np.ascontiguousarray(plane[::2, ::2]) for plane in (blue, red)]
    return Planes(np.ascontiguousarray(luma), half[0], half[1], colours, lambda: image)


@pytest.mark.parametrize("height", [480, 720], ids=["sd", "hd"])
@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("kinds", [{*DRAWINGS} - {"wireframe", "black"}, {"wireframe"}], ids=["most", "wireframe"])
def test_drawing_on_planes_equals_drawing_on_rgb(kinds: set[str], grey: int, height: int) -> None:
    face = circle_face(load_layout("300w").query)
    image, colours = np.full((height, 640, 3), grey, np.uint8), film_colours(height)
    planes = in_planes(image, colours)
    drawing = Drawing(face.query, kinds)
    drawn = drawing.pixels(make_result(0, face, image=planes, query=face.query))
    assert isinstance(drawn, Planes)
    expected = drawing(make_result(0, face, image=image, query=face.query)).astype(float)
    got = drawn.whole().astype(float)
    # Colour has half the resolution there, brightness has all of it.
    assert np.abs(got - expected).mean() < 0.6
    weights = np.array([colours.red, 1 - colours.red - colours.blue, colours.blue])
    assert np.quantile(np.abs((got - expected) @ weights), 0.999) < 8  # colours too strong for RGB are cut off
    assert np.abs(got[:60] - grey).max() <= 1  # nothing where no face is
    assert (planes.luma == in_planes(image, colours).luma).all()


def test_planes_without_faces_are_returned_unchanged() -> None:
    query = even("jaw", 5)
    planes = in_planes(np.full((48, 64, 3), GREY, np.uint8), film_colours(48))
    assert Drawing(query).pixels(make_result(0, image=planes, query=query)) is planes


@pytest.mark.parametrize(
    ("shape", "colours"),
    [((47, 63), film_colours(47)), ((48, 64), Colours(*BT709, full=False)), ((48, 64), Colours(*BT601, full=True))],
)
def test_planes_in_other_colours_are_converted_to_rgb(shape: tuple[int, int], colours: Colours) -> None:
    """With and without faces: otherwise colours would change when a face appears."""
    query = even("jaw", 5)
    planes = in_planes(np.full((*shape, 3), GREY, np.uint8), colours)
    for faces in ((make_face(query),), ()):
        assert isinstance(Drawing(query).pixels(make_result(0, *faces, image=planes, query=query)), np.ndarray)
