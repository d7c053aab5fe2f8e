"""Blinks: their frames, their runs and their number say the same, frame by frame and with later frames at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.pipelines.results import make_face, make_result
from vtrack.measures import EyeEvent, LidMotion, Measures
from vtrack.pipelines.measures.events import intervals
from vtrack.pipelines.measures.eyes import EyeWatcher
from vtrack.pipelines.measures.lookahead import BlinkLookahead
from vtrack.pipelines.measures.points import MEASURES
from vtrack.types import FrameResult

RATE = 30
OPEN, SHUT = 0.25, 0.05


def openings(seconds: float, *closures: tuple[float, float]) -> np.ndarray:
    """The eye opening at each frame of a face that shuts its eyes from one time to another."""
    times = np.arange(round(seconds * RATE)) / RATE
    shut = [(times >= start) & (times < stop) for start, stop in closures]
    return np.where(np.any(shut, 0) if shut else np.zeros(len(times), bool), SHUT, OPEN)


def live(*faces: Sequence[float]) -> list[FrameResult]:
    """Results of faces whose eyes open so far in each frame; NaN where a face is missing."""
    watchers = [EyeWatcher(number) for number in range(len(faces))]
    results = []
    for i, row in enumerate(zip(*faces, strict=True)):
        here = []
        for number, (watcher, opening) in enumerate(zip(watchers, row, strict=True)):
            if np.isfinite(opening):
                values, state = np.zeros(len(MEASURES)), watcher.update([opening] * 2, [0.02] * 2, i / RATE)
                values[MEASURES.index("blink")], values[MEASURES.index("blinks")] = state.blink, state.blinks
                here.append(make_face(number=number, measures=Measures(MEASURES, values)))
        results.append(make_result(i, *here, step=30000 // RATE))
    return results


def column(results: Sequence[FrameResult], name: str, number: int = 0) -> np.ndarray:
    """One measure of a face in the frames that it is in."""
    faces = [face for result in results for face in result.faces if face.id == number]
    return np.array([face.measures[name] for face in faces if face.measures])


def agree(results: Sequence[FrameResult], number: int = 0) -> int:
    """The number of blinks, which must be the number of runs of `blink` that have begun, in every frame."""
    flags, counts = column(results, "blink", number).astype(bool), column(results, "blinks", number)
    begun = np.cumsum(flags & ~np.concatenate([[False], flags[:-1]]))
    np.testing.assert_array_equal(counts, begun)
    assert len(intervals(flags, np.arange(len(flags)))) == counts[-1]
    return int(counts[-1])


def looked_ahead(results: Sequence[FrameResult]) -> list[FrameResult]:
    lookahead = BlinkLookahead()
    found = [each for result in results for each in lookahead.push([result])] + lookahead.flush()
    assert [each.index for each in found] == [each.index for each in results]
    return found


BLINKS = ((1.0, 1.2), (3.0, 3.1))
LONG = (2.0, 2.9)


@pytest.mark.parametrize(
    ("closures", "blinks"),
    [
        ((), 0),
        (BLINKS, 2),
        ((LONG,), 0),
        ((BLINKS[0], LONG, BLINKS[1]), 2),
        ((*BLINKS, (4.9, 5.0)), 2),  # the eyes do not open before the end
        (((1.0, 4.0), (4.1, 4.2)), 1),
    ],
)
def test_column_runs_and_count_agree(closures: tuple[tuple[float, float], ...], blinks: int) -> None:
    results = live(openings(5.0, *closures))
    assert agree(results) == len(closures), "frame by frame, each closure is a blink at first"
    assert agree(looked_ahead(results)) == blinks


def test_a_blink_is_marked_in_all_of_its_frames() -> None:
    flags = column(looked_ahead(live(openings(5.0, BLINKS[0], LONG, BLINKS[1]))), "blink")
    np.testing.assert_array_equal(flags.astype(bool), openings(5.0, *BLINKS) == SHUT)


def test_a_face_that_leaves_with_shut_eyes_did_not_blink() -> None:
    leaves, stays = openings(5.0, BLINKS[0], (2.0, 2.2)), openings(5.0, (2.1, 2.3))
    leaves[65:] = np.nan
    results = looked_ahead(live(leaves, stays))
    assert agree(results, 0) == 1 and agree(results, 1) == 1


def test_only_frames_of_open_blinks_are_held_back() -> None:
    results, lookahead = live(openings(5.0, *BLINKS, LONG)), BlinkLookahead()
    held = []
    ready = 0
    for i, result in enumerate(results):
        ready += len(lookahead.push([result]))
        held.append(i + 1 - ready)
    assert 0.6 * RATE - 1 <= max(held) <= 0.6 * RATE + 2 and held.count(1) > 100


def test_what_goes_on_at_the_end_of_the_video_is_told_with_its_last_frame() -> None:
    results, lookahead = live(openings(2.0, (1.9, 2.0))), BlinkLookahead()
    ready = lookahead.push(results)
    lids = LidMotion(1.9, 1.95, 2.0, 0.8, 0.1)
    event = EyeEvent(0, "closure", "both", whole=False, lids=lids, left=lids, right=lids)
    ready += lookahead.flush((event,))
    assert [result.events for result in ready] == [()] * 59 + [(event,)]


def test_large_frames_are_held_back_for_less_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtrack.pipelines.measures.lookahead._MEMORY", 0)
    results = looked_ahead(live(openings(5.0, *BLINKS, LONG)))
    assert agree(results) == 3
