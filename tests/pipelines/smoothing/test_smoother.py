"""The smoother on faces with known truth: order, gaps, cuts, ids, boxes and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from vtrack.anchors import ANCHORS
from vtrack.errors import UsageError
from vtrack.pipelines.registry import METHODS
from vtrack.pipelines.settings import Smoothing
from vtrack.pipelines.smoothing.channels import LAG
from vtrack.pipelines.smoothing.smoother import Smoother
from vtrack.types import Face, Frame, FrameResult, Query

QUERY = Query(("left_eye", "left_eye", "jaw"), (0.25, 0.75, 0.5)) + ANCHORS
SHAPE = np.random.default_rng(1).uniform(-40, 40, (len(QUERY), 2))
NOISE = 0.5
PICTURE = np.zeros((120, 160, 3), np.uint8)
MODES = [name for name in METHODS if name != "none"]


def face(track: int, points: np.ndarray, *, query: Query = QUERY, measured: bool = True) -> Face:
    low, high = points.min(0), points.max(0)
    box = np.concatenate([low, high - low])
    return Face(track, box, 0.9, points, np.full(len(query), 2.0), points, query, measured)


def result(
    index: int, faces: Sequence[Face], *, fps: int = 30, cut: bool = False, pts: int | None = None
) -> FrameResult:
    query = faces[0].query if faces else QUERY
    return FrameResult(Frame(PICTURE, index, index if pts is None else pts, Fraction(1, fps), cut), tuple(faces), query)


def truth(index: int, speed: float = 3.0) -> np.ndarray:
    return SHAPE + np.array([200 + speed * index, 150])


def noisy(index: int, track: int = 0) -> np.ndarray:
    return truth(index) + np.random.default_rng(100 * index + track).normal(0, NOISE, SHAPE.shape)


def smooth(smoother: Smoother, results: Sequence[FrameResult]) -> list[FrameResult]:
    out = [ready for result in results for ready in smoother.push(result)]
    return out + smoother.flush()


def errors(results: Sequence[FrameResult], what: str = "points") -> np.ndarray:
    """(frames, points) distance of the first face from the truth."""
    return np.stack([np.linalg.norm(getattr(r.faces[0], what) - truth(r.index), axis=-1) for r in results if r.faces])


@pytest.mark.parametrize("mode", [*MODES, "none"])
def test_every_frame_is_returned_once_in_order_with_raw_unchanged(mode: str) -> None:
    given = [result(i, [face(7, noisy(i))]) for i in range(150)]
    got = smooth(Smoother(QUERY, mode), given)
    assert [r.frame for r in got] == [r.frame for r in given]
    for before, after in zip(given, got, strict=True):
        assert [f.id for f in after.faces] == [7] and after.query == QUERY
        assert after.faces[0].raw is before.faces[0].raw and after.faces[0].measured
        assert np.isfinite(after.faces[0].points).all() and np.isfinite(after.faces[0].sigma).all()


def test_none_changes_nothing() -> None:
    given = result(0, [face(0, noisy(0))])
    assert Smoother(QUERY, "none").push(given) == [given]


@pytest.mark.parametrize(("mode", "share"), [("rts", 0.35), ("kalman", 0.5)])
def test_a_moving_face_is_smoothed_without_lag(mode: str, share: float) -> None:
    got = smooth(Smoother(QUERY, mode), [result(i, [face(0, noisy(i))]) for i in range(150)])[20:]
    assert errors(got).mean() < share * errors(got, "raw").mean()
    along = np.mean([(r.faces[0].points - truth(r.index))[:, 0].mean() for r in got])
    assert abs(along) < 0.1  # of the 3 pixels that it moves in each frame


def test_causal_smoothing_returns_each_frame_at_once() -> None:
    for mode in ("kalman", "one-euro"):
        smoother = Smoother(QUERY, mode)
        for i in range(5):
            assert [r.index for r in smoother.push(result(i, [face(0, noisy(i))]))] == [i]
        assert smoother.flush() == []


@pytest.mark.parametrize("repeats", [1, 9])
def test_large_frames_shorten_the_lag(repeats: int) -> None:
    """As many frames wait as fit into the memory limit, and no more than the look-ahead needs."""
    large = PICTURE.repeat(repeats, 0).repeat(repeats, 1)  # 120 x 160, 1080 x 1440
    smoother, waiting, most = Smoother(QUERY), 0, 0
    for i in range(LAG + 50):
        one = result(i, [face(0, noisy(i))])
        waiting += 1 - len(smoother.push(replace(one, frame=replace(one.frame, pixels=large))))
        most = max(most, waiting)
    assert most * large.nbytes < 192 * 2**20
    assert most > (LAG if repeats == 1 else 0.8 * 192 * 2**20 / large.nbytes)


def test_settings_have_the_same_effect_on_every_size_of_face() -> None:
    def run(scale: float) -> np.ndarray:
        faces = []
        for i in range(80):
            points = noisy(i) * scale
            small = face(0, points)
            faces.append(Face(0, small.box, 0.9, points, small.sigma * scale, points, QUERY))
        got = smooth(Smoother(QUERY, "rts"), [result(i, [f]) for i, f in enumerate(faces)])
        return np.stack([r.faces[0].points for r in got])

    np.testing.assert_allclose(run(9.0) / 9.0, run(1.0), atol=1e-6)


def test_uneven_time_steps_do_not_distort_even_motion() -> None:
    moments = np.cumsum(np.random.default_rng(2).choice([1, 2, 5], 80))
    given = []
    for i, moment in enumerate(moments):
        points = SHAPE + np.array([100 + 2.0 * moment, 150])
        given.append(result(i, [face(0, points)], pts=int(moment)))
    got = smooth(Smoother(QUERY, "kalman"), given)[10:]
    off = [r.faces[0].points - r.faces[0].raw for r in got]
    assert np.abs(off).max() < 0.05


@pytest.mark.parametrize("mode", MODES)
def test_repeated_timestamps(mode: str) -> None:
    given = [result(i, [face(0, noisy(i))], pts=i // 2) for i in range(30)]
    got = smooth(Smoother(QUERY, mode), given)
    assert np.isfinite([r.faces[0].points for r in got]).all()


class TestGaps:
    @staticmethod
    def gap(mode: str, first: int, last: int, frames: int = 90) -> list[FrameResult]:
        given = [result(i, [] if first <= i < last else [face(4, noisy(i))]) for i in range(frames)]
        return smooth(Smoother(QUERY, mode), given)

    @pytest.mark.parametrize("mode", ["rts", "kalman"])
    def test_a_short_gap_is_filled_and_marked_unmeasured(self, mode: str) -> None:
        got = self.gap(mode, 50, 55)
        assert [[f.id for f in r.faces] for r in got] == [[4]] * 90
        assert [r.index for r in got if not r.faces[0].measured] == [50, 51, 52, 53, 54]
        bridged = got[52].faces[0]
        assert np.isnan(bridged.raw).all() and bridged.presence == 0.9
        assert np.abs(bridged.points - truth(52)).max() < 2.0
        if mode == "kalman":
            assert (got[54].faces[0].sigma > got[49].faces[0].sigma).all()
        middle = bridged.box[:2] + bridged.box[2:] / 2
        before = got[49].faces[0].box[:2] + got[49].faces[0].box[2:] / 2
        assert middle[0] - before[0] == pytest.approx(9.0, abs=2.0)  # three frames on

    @pytest.mark.parametrize("mode", MODES)
    def test_a_long_gap_stays_empty_and_restarts_smoothing(self, mode: str) -> None:
        got = self.gap(mode, 40, 70)
        empty = [r.index for r in got if not r.faces]
        foretold = [r.index for r in got if r.faces and not r.faces[0].measured]
        assert foretold == ([40, 41, 42, 43, 44, 45] if mode == "kalman" else [])
        assert empty == [i for i in range(40, 70) if i not in foretold]
        np.testing.assert_allclose(self.gap("kalman", 40, 70)[70].faces[0].points, noisy(70))

    def test_one_euro_predicts_nothing(self) -> None:
        assert [r.index for r in self.gap("one-euro", 50, 53) if not r.faces] == [50, 51, 52]

    def test_a_face_that_never_returns_is_not_predicted(self) -> None:
        got = self.gap("rts", 50, 90)
        assert [r.index for r in got if r.faces] == list(range(50))

    def test_predicted_faces_in_the_input_are_no_measurements(self) -> None:
        wrong = np.zeros_like(SHAPE)
        given = [result(i, [face(0, wrong, measured=False)] if i == 30 else [face(0, noisy(i))]) for i in range(60)]
        got = smooth(Smoother(QUERY, "rts"), given)
        assert not got[30].faces[0].measured
        assert np.abs(got[30].faces[0].points - truth(30)).max() < 2.0


class TestRestarts:
    def test_a_cut_restarts_smoothing_although_the_id_stays(self) -> None:
        def points(i: int) -> np.ndarray:
            return SHAPE + ((200, 150) if i < 40 else (215, 150))

        got = smooth(Smoother(QUERY, "rts"), [result(i, [face(0, points(i))], cut=i == 40) for i in range(80)])
        for r in got:
            np.testing.assert_allclose(r.faces[0].points, points(r.index), atol=1e-6)

    def test_a_jump_restarts_smoothing(self) -> None:
        def points(i: int) -> np.ndarray:
            return SHAPE + ((200, 150) if i < 40 else (500, 150))

        for mode in MODES:
            got = smooth(Smoother(QUERY, mode), [result(i, [face(0, points(i))]) for i in range(60)])
            for r in got:
                np.testing.assert_allclose(r.faces[0].points, points(r.index), atol=1e-6)

    def test_the_smoother_can_be_used_for_another_video(self) -> None:
        given = [result(i, [face(0, noisy(i))]) for i in range(80)]
        smoother = Smoother(QUERY, "rts")
        once, again = smooth(smoother, given), smooth(smoother, given)
        for one, other in zip(once, again, strict=True):
            np.testing.assert_array_equal(one.faces[0].points, other.faces[0].points)


def test_faces_do_not_affect_each_other() -> None:
    """Faces that appear and disappear share arrays, but no values."""
    there = {0: range(0, 120), 1: range(10, 60), 2: range(50, 110), 3: range(95, 120)}
    offsets = {track: (0, 200 * track) for track in there}

    def faces(i: int, tracks: Sequence[int]) -> list[Face]:
        return [face(t, noisy(i, t) + offsets[t]) for t in tracks if i in there[t]]

    together = smooth(Smoother(QUERY, "rts"), [result(i, faces(i, [3, 0, 2, 1])) for i in range(120)])
    for track in there:
        alone = smooth(Smoother(QUERY, "rts"), [result(i, faces(i, [track])) for i in range(120)])
        for one, all_of_them in zip(alone, together, strict=True):
            mine = [f for f in all_of_them.faces if f.id == track]
            assert len(mine) == len(one.faces)
            for a, b in zip(one.faces, mine, strict=True):
                np.testing.assert_allclose(a.points, b.points, atol=1e-9)
                np.testing.assert_allclose(a.sigma, b.sigma, atol=1e-9)
                np.testing.assert_allclose(a.box, b.box, atol=1e-9)
    assert [f.id for f in together[55].faces] == [3, 0, 2, 1][1:]  # the order they came in


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("mode", MODES)
def test_queries_without_anchors(mode: str, count: int) -> None:
    query = Query(("left_eye",) * count, tuple(i / 8 for i in range(count)))
    points = [noisy(i)[:count] for i in range(60)]
    whole = [face(0, noisy(i)) for i in range(60)]
    given = [
        result(i, [Face(0, whole[i].box, 0.9, points[i], np.full(count, 2.0), points[i], query)]) for i in range(60)
    ]
    got = smooth(Smoother(query, mode), given)[15:]
    error = [np.abs(r.faces[0].points - truth(r.index)[:count]).mean() for r in got]
    raw = [np.abs(r.faces[0].raw - truth(r.index)[:count]).mean() for r in got]
    assert all(len(r.faces[0].points) == count for r in got)
    if mode != "one-euro":  # it lags by design
        assert np.mean(error) < np.mean(raw)


def test_an_unmeasured_point_keeps_its_position_on_the_head() -> None:
    given = []
    for i in range(80):
        points = noisy(i)
        if 40 <= i < 50:
            points[0] = np.nan
        given.append(result(i, [face(0, np.nan_to_num(points))]))
        given[-1] = FrameResult(
            given[-1].frame,
            (Face(0, face(0, noisy(i)).box, 0.9, points, np.full(len(QUERY), 2.0), points, QUERY),),
            QUERY,
        )
    got = smooth(Smoother(QUERY, "rts"), given)
    assert np.abs(got[45].faces[0].points[0] - truth(45)[0]).max() < 1.0


def test_an_outlier_is_ignored_and_a_lasting_jump_accepted() -> None:
    def run(last: int) -> list[np.ndarray]:
        given = []
        for i in range(90):
            points = noisy(i)
            if 50 <= i < last:
                points[2] += (30, 0)
            given.append(result(i, [face(0, points)]))
        return [r.faces[0].points[2] - truth(r.index)[2] for r in smooth(Smoother(QUERY, "kalman"), given)]

    assert np.abs(run(51)[45:60]).max() < 3
    jump = run(90)
    assert jump[50][0] < 10
    np.testing.assert_allclose(np.array(jump[52:])[:, 0], 30, atol=3)


class TestSettings:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("median", 0.5, {}), "no smoothing called 'median'; choose from rts, kalman, one-euro, none"),
            (("rts", 1.5, {}), "strength must lie in 0 .* got 1.5"),
            (("rts", 0.5, {"eyes": -0.1}), "eyes must lie in 0 .* got -0.1"),
            (("rts", 0.5, {"eys": 0.1}), "no part is called 'eys'; did you mean eyes"),
        ],
    )
    def test_invalid_settings_are_refused(self, arguments: tuple, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            Smoothing(*arguments)
        with pytest.raises(UsageError, match=message):
            Smoother(QUERY, *arguments)

    def test_the_strength_of_a_part_precedes_that_of_its_group(self) -> None:
        settings = Smoothing("rts", 0.4, {"face": 0.1, "eyes": 0.2, "left_eye": 0.3, "head": 0.9})
        assert [settings.of(p) for p in ("left_eye", "right_eye", "jaw", "neck", "head")] == [0.3, 0.2, 0.1, 0.4, 0.9]

    @pytest.mark.parametrize("mode", MODES)
    def test_strength_ranges_from_hardly_any_to_very_strong(self, mode: str) -> None:
        given = [result(i, [face(0, truth(0) + noisy(i) - truth(i))]) for i in range(150)]

        def jitter(**settings: object) -> float:
            got = smooth(Smoother(QUERY, mode, **settings), given)[40:]  # type: ignore[arg-type]
            return float(np.std([r.faces[0].points for r in got], axis=0).mean())

        weak, usual, strong = (jitter(strength=strength) for strength in (0.0, 0.5, 1.0))
        assert 0.6 * NOISE < weak <= 1.01 * NOISE
        assert strong < usual < 0.6 * NOISE
        mixed = smooth(Smoother(QUERY, mode, per_part={"eyes": 0.0}), given)[40:]
        spread = np.std([r.faces[0].points for r in mixed], axis=0).mean(-1)
        assert spread[:2].mean() > 1.2 * spread[2]
