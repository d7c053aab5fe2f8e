"""Streams of the VMC protocol, read back by python-osc."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.pipelines.datagrams import live_datagrams
from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.measures import POSE_NAMES, HeadPose, Measures
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.streams.vmc import vmc_encoder
from vtrack.types import FrameResult


def read(datagram: bytes) -> list[tuple[str, list[Any]]]:
    """Address and arguments of each message of a bundle."""
    packet = pytest.importorskip("pythonosc.osc_packet").OscPacket(datagram)
    return [(timed.message.address, timed.message.params) for timed in packet.messages]


def sent(result: FrameResult) -> list[tuple[str, list[Any]]]:
    (datagram,) = vmc_encoder(QUERY)(result)
    return read(datagram)


def pose_of(angles: tuple[float, float, float]) -> HeadPose:
    """A pose with these radians about x, y and z of the camera; the turn about z comes first."""
    x, y, z, w = Rotation.from_euler("XYZ", angles).as_quat()
    array = np.zeros(len(POSE_NAMES))
    array[[2, -1]], array[3:6], array[6:10] = (10, 500), angles, np.array([w, x, y, z]) * (1 if w > 0 else -1)
    return HeadPose(array)


def measures_of(**values: float) -> Measures:
    return Measures(MEASURES, np.array([values.get(name, np.nan) for name in MEASURES]))


def bones(messages: list[tuple[str, list[Any]]]) -> dict[str, list[Any]]:
    return {values[0]: values[1:] for address, values in messages if address == "/VMC/Ext/Bone/Pos"}


@pytest.mark.parametrize(
    ("angles", "axis", "towards"),
    [
        ((0.5, 0.0, 0.0), (0, 0, 1), (0, -1, 0)),  # a look down lowers the direction of the look
        ((0.0, 0.6, 0.0), (0, 0, 1), (1, 0, 0)),  # one to the left of the image is one to the person's right
        ((0.0, 0.0, 0.4), (0, 1, 0), (-1, 0, 0)),  # clockwise on screen, the crown goes to the person's left
    ],
)
def test_bones_turn_an_avatar_as_the_person_turns(
    angles: tuple[float, float, float], axis: tuple[int, ...], towards: tuple[int, ...]
) -> None:
    joints = bones(sent(make_result(3, make_face(pose=pose_of(angles), measures=measures_of(mouth_open=0.0)))))
    assert list(joints) == ["Neck", "Head"] and all(values[:3] == [0, 0, 0] for values in joints.values())
    neck, head = (Rotation.from_quat(values[3:]) for values in joints.values())
    turned = (neck * head).apply(axis)
    assert turned @ towards == pytest.approx(math.sin(max(angles)), abs=1e-6)


def test_shapes_have_the_names_of_vrm_and_of_perfect_sync() -> None:
    face = make_face(measures=measures_of(left_openness=0.2, right_openness=1.1, mouth_open=0.25))
    messages = sent(make_result(3, face))
    shapes = dict(values for address, values in messages if address == "/VMC/Ext/Blend/Val")
    # The person's left eye is on the right of the image.
    expected = {"A": 0.5, "JawOpen": 0.5, "Blink_R": 0.8, "EyeBlinkRight": 0.8, "Blink_L": 0.0, "EyeBlinkLeft": 0.0}
    assert shapes == pytest.approx(expected)
    assert messages[-1] == ("/VMC/Ext/Blend/Apply", [])


def test_what_is_not_known_is_not_sent() -> None:
    time = make_result(3).time
    assert sent(make_result(3)) == [("/VMC/Ext/OK", [1, 3, 0, 0]), ("/VMC/Ext/T", [pytest.approx(time)])]
    face = make_face(pose=HeadPose(np.full(len(POSE_NAMES), np.nan)), measures=measures_of())
    first, _, *others = sent(make_result(3, face))
    assert first == ("/VMC/Ext/OK", [1, 3, 0, 1]) and others == [("/VMC/Ext/Blend/Apply", [])]


def test_the_face_that_is_followed_longest_is_sent() -> None:
    faces = [make_face(number=i, measures=measures_of(mouth_open=gap)) for i, gap in ((7, 0.5), (4, 0.1))]
    assert ("/VMC/Ext/Blend/Val", ["A", pytest.approx(0.2)]) in sent(make_result(3, *faces))


def test_a_live_picture_drives_an_avatar() -> None:
    """Two blinks in 3.5 s of the sample close the avatar's eyes; poses come without being asked for."""
    with live_datagrams("vmc", "--parts", "pupils") as receive:
        shapes: dict[str, float] = {}
        while shapes.get("Blink_L", 0) < 0.5:
            messages = read(receive())
            shapes = dict(values for address, values in messages if address == "/VMC/Ext/Blend/Val")
    assert bones(messages).keys() == {"Neck", "Head"} and shapes["EyeBlinkRight"] > 0.3
