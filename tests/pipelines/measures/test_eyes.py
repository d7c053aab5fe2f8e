"""Events of the eyes: what they are, when they start and end, at any frame rate and opening of the person's own eyes."""

from __future__ import annotations

import numpy as np
import pytest

from vtrack.measures import EyeEvent
from vtrack.pipelines.measures.eyes import EyeState, EyeWatcher

Key = tuple[float, float, float]
"""Time in seconds, openness of the left and of the right eye; straight lines between them."""
Watched = tuple[list[EyeEvent], list[EyeState]]


def blink(at: float, low: float = 0.1, closing: float = 0.1, shut: float = 0.05, opening: float = 0.15) -> list[Key]:
    """Lids that begin to close at a time; both eyes."""
    times = np.cumsum([at, closing, shut, opening])
    return [(time, openness, openness) for time, openness in zip(times, (1.0, low, low, 1.0), strict=True)]


def watch(
    keys: list[Key],
    seconds: float = 6.0,
    rate: float = 30.0,
    usual: float = 0.3,
    sigma: tuple[float, float] = (0.02, 0.02),
    noise: float = 0.0,
    missing: tuple[float, float] = (-1.0, -1.0),
) -> Watched:
    """The events of a face, and its state in each frame, seen at a frame rate; the right eye opens less than the left."""
    times = np.arange(round(seconds * rate)) / rate
    lines = np.array([(0.0, *keys[0][1:]) if keys else (0.0, 1.0, 1.0), *keys])
    both = np.stack([np.interp(times, lines[:, 0], lines[:, eye]) for eye in (1, 2)], 1) * (usual, 0.85 * usual)
    both = np.abs(both + np.random.default_rng(3).normal(0, noise, both.shape))
    watcher, states = EyeWatcher(7), []
    for time, openings in zip(times.tolist(), both.tolist(), strict=True):
        if not missing[0] <= time < missing[1]:
            states.append(watcher.update(openings, sigma, time))
    watcher.interrupt()
    return watcher.events, states


@pytest.mark.parametrize("rate", [15.0, 25.0, 30.0, 60.0, 120.0])
def test_blinks_are_the_same_at_any_frame_rate(rate: float) -> None:
    found, states = watch([*blink(2.0), *blink(3.5, shut=0.2), *blink(4.6), *blink(5.05)], rate=rate)
    assert [(event.face, event.kind, event.eye, event.whole) for event in found] == [(7, "blink", "both", True)] * 4
    for event, start, shut in zip(found, (2.0, 3.5, 4.6, 5.05), (0.05, 0.2, 0.05, 0.05), strict=True):
        # The openness has fallen by 0.1 after a ninth of the closing, and is 0.75 after 0.72 of the opening.
        step = 1 / rate
        assert event.lids.start == pytest.approx(start + 0.011, abs=0.4 * step + 0.003)
        assert event.lids.end == pytest.approx(start + 0.1 + shut + 0.108, abs=0.4 * step + 0.003)
        assert start + 0.1 - step <= event.lids.peak <= start + 0.1 + shut + step
        assert event.lids.complete and event.left.complete and event.right.complete
        assert 0.7 < event.lids.amplitude <= 0.92 and 0.02 < event.lids.sigma < 0.1
    assert states[-1].blinks == 4


@pytest.mark.parametrize("usual", [0.18, 0.24, 0.33, 0.45])
def test_openness_is_relative_to_the_persons_own_open_eye(usual: float) -> None:
    found, states = watch([*blink(0.9), *blink(2.0), *blink(3.0)], seconds=4.0, usual=usual, noise=0.008)
    assert [event.kind for event in found] == ["blink"] * 3
    openness = np.array([(state.left, state.right) for state in states])
    assert np.median(openness, 0) == pytest.approx((1, 1), abs=0.05)
    sigma = np.array([(state.left_sigma, state.right_sigma) for state in states])
    assert np.median(sigma, 0) == pytest.approx((0.02 / usual, 0.02 / usual / 0.85), rel=0.05)


def test_eyes_that_are_shut_from_the_first_frame_on_are_not_taken_for_open() -> None:
    found, states = watch([(0.0, 0.1, 0.1), (8.0, 0.1, 0.1), (8.1, 1.0, 1.0)], seconds=10.0)
    assert [(event.kind, event.whole) for event in found] == [("closure", False)]
    assert max(state.left for state in states[: 8 * 30]) < 0.3


def test_half_a_minute_of_sleep_and_a_wide_look_leave_the_level_as_it_was() -> None:
    keys = [(20.0, 1.0, 1.0), (20.2, 0.1, 0.1), (50.0, 0.1, 0.1), (50.2, 1.0, 1.0)]
    keys += [(52.0, 1.0, 1.0), (52.1, 1.5, 1.5), (54.0, 1.5, 1.5), (54.1, 1.0, 1.0), *blink(56.0)]
    found, states = watch(keys, seconds=60.0)
    assert [event.kind for event in found] == ["closure", "blink"]
    assert states[-1].left == pytest.approx(1.0, abs=0.05)


def test_kinds_are_told_by_their_length_and_depth() -> None:
    keys = [*blink(2.0), *blink(4.0, shut=1.0), *blink(7.0, low=0.5, shut=1.0), *blink(10.0, low=0.45)]
    found, _ = watch(keys, seconds=12.0)
    assert [event.kind for event in found] == ["blink", "closure", "squint", "blink"]
    assert [event.lids.complete for event in found] == [True, True, False, False]
    assert found[3].lids.amplitude == pytest.approx(0.55, abs=0.05)


def test_one_eye_that_closes_winks_and_does_not_blink() -> None:
    keys = [(2.0, 1.0, 1.0), (2.15, 0.1, 0.9), (2.5, 0.1, 0.9), (2.7, 1.0, 1.0)]
    for swap, eye in ((False, "left"), (True, "right")):
        found, states = watch([(time, right, left) for time, left, right in keys] if swap else keys)
        assert [(event.kind, event.eye) for event in found] == [("wink", eye)]
        (event,) = found
        assert (
            event.lids == getattr(event, eye)
            and event.lids.complete
            and min(event.left.amplitude, event.right.amplitude) < 0.2
        )
        assert event.lids.start == pytest.approx(2.02, abs=0.02) and event.lids.end == pytest.approx(2.64, abs=0.02)
        assert states[-1].blinks == 0 and not any(state.blink for state in states)


def test_lids_that_close_one_after_the_other_blink() -> None:
    keys = [(2.0, 1.0, 1.0), (2.1, 0.2, 0.9), (2.2, 0.1, 0.1), (2.25, 0.1, 0.1), (2.4, 1.0, 1.0)]
    found, states = watch(keys)
    assert [(event.kind, event.eye) for event in found] == [("blink", "both")]
    assert states[-1].blinks == 1


def test_an_eye_of_which_little_is_known_neither_winks_nor_hides_a_blink() -> None:
    """As the far eye of a turned head: wrong, and its points have a large sigma."""
    keys = [(time, openness, 1.0) for time, openness, _ in blink(3.0)]
    found, _ = watch([(1.0, 1.0, 0.2), (1.5, 1.0, 0.2), (1.6, 1.0, 1.0), *keys], sigma=(0.02, 0.3))
    assert [(event.kind, event.eye) for event in found] == [("blink", "both")]


def test_noise_makes_no_events() -> None:
    for rate in (15.0, 30.0, 120.0):
        found, states = watch([], seconds=60.0, rate=rate, noise=0.025)
        assert found == [] and states[-1].perclos == 0.0


@pytest.mark.parametrize("missing", [(2.1, 3.0), (2.1, 10.0)])
def test_a_face_that_is_lost_with_shut_eyes_ends_the_event_there(missing: tuple[float, float]) -> None:
    found, _ = watch([*blink(2.0, shut=0.3), *blink(4.0)], missing=missing)
    assert [(event.kind, event.whole) for event in found] == [("closure", False), ("blink", True)][
        : 1 + (missing[1] < 4)
    ]
    assert found[0].lids.end <= 2.1


def test_events_at_the_first_and_the_last_frame_are_not_whole() -> None:
    found, _ = watch([(0.0, 0.1, 0.1), (0.1, 0.1, 0.1), (0.25, 1.0, 1.0), (5.8, 1.0, 1.0), (5.95, 0.1, 0.1)])
    assert [(event.kind, event.whole) for event in found] == [("blink", False), ("closure", False)]
    assert found[0].lids.start == 0.0 and found[1].lids.end == pytest.approx(6.0, abs=0.04)


def test_points_without_a_place_are_left_out() -> None:
    watcher = EyeWatcher(1)
    assert np.isnan(watcher.update([float("nan"), 0.3], [0.02, 0.02], 0.0).left)
    for i in range(60):
        state = watcher.update([0.3, 0.3], [0.02, float("nan") if i == 30 else 0.02], i / 30)
    assert state.left == pytest.approx(1.0, abs=0.05) and watcher.events == []


def test_perclos_is_the_share_of_the_last_minute_at_any_frame_rate() -> None:
    keys = [(5.0, 1.0, 1.0), (5.01, 0.1, 0.1), (15.0, 0.1, 0.1), (15.01, 1.0, 1.0)]
    for rate in (15.0, 60.0):
        _, states = watch(keys, seconds=120.0, rate=rate)
        perclos = {second: states[round(second * rate)].perclos for second in (20, 40, 60, 70, 100)}
        assert perclos[20] == pytest.approx(0.5, abs=0.01) and perclos[40] == pytest.approx(0.25, abs=0.01)
        assert perclos[60] == pytest.approx(1 / 6, abs=0.01) and perclos[70] == pytest.approx(5 / 60, abs=0.01)
        assert perclos[100] == pytest.approx(0.0, abs=1e-9)
