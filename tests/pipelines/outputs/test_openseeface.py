"""OpenSeeFace's datagrams, read back by a parser that follows the description of the protocol alone."""

from __future__ import annotations

import math
import struct
import time
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from tests.pipelines.datagrams import live_datagrams
from tests.pipelines.measures.heads import SIZE, UNIT, rotation
from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.errors import UsageError
from vtrack.layouts import load_layout
from vtrack.measures import EXPRESSION_NAMES, POSE_NAMES, Expressions, HeadPose, Measures, Points3d
from vtrack.pipelines.measures.face_fit import face_model
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.streams.openseeface import openseeface_encoder
from vtrack.query import parse_query
from vtrack.types import Face, FloatArray

LAYOUT = parse_query("300w,pupils")
AGE = 0.25


@dataclass
class Packet:
    """A face of a datagram."""

    time: float
    face: int
    width: float
    height: float
    right_open: float
    left_open: float
    fitted: int
    error: float
    quaternion: FloatArray
    euler: FloatArray
    translation: FloatArray
    confidence: FloatArray
    points: FloatArray
    points3d: FloatArray
    features: FloatArray


def parse(datagram: bytes) -> list[Packet]:
    """The faces of a datagram: a double, an int, four floats, a byte, and floats to the end of 1,785 bytes."""
    assert len(datagram) % 1785 == 0
    packets = []
    for start in range(0, len(datagram), 1785):
        head = struct.unpack_from("<diffffB", datagram, start)
        error, *numbers = struct.unpack_from("<439f", datagram, start + struct.calcsize("<diffffB"))
        blocks = np.split(np.array(numbers), np.cumsum([4, 3, 3, 68, 136, 210]))
        shapes = [(4,), (3,), (3,), (68,), (68, 2), (70, 3), (14,)]
        arrays = [block.reshape(shape) for block, shape in zip(blocks, shapes, strict=True)]
        packets.append(Packet(*head, error, *arrays))
    return packets


def head(
    yaw: float, pitch: float, roll: float, number: int = 1, unit: float = 1.0, distance: float = 11.0, **measures: float
) -> Face:
    """The mean face with pupils, turned before a camera; places are in a unit of which the eyes are `unit` apart."""
    mean = face_model(load_layout("300w").query).mean
    mean = (mean - mean[[36, 45]].mean(0)) / np.linalg.norm(mean[45] - mean[36])
    shape = np.vstack([mean, mean[[36, 39]].mean(0), mean[[42, 45]].mean(0)])
    turn = rotation(yaw, pitch, roll)
    space = shape @ turn.T + (0.4, -0.2, distance)
    x, y, z, w = quaternion(turn)
    focal = UNIT * distance
    pose = np.zeros(len(POSE_NAMES))
    pose[:3], pose[6:10], pose[-1] = np.array([0.4, -0.2, distance]) * unit, (w, x, y, z), focal
    return make_face(
        LAYOUT,
        number,
        points=space[:, :2] / space[:, 2:] * focal + (np.array(SIZE) - 1) / 2,
        sigma=np.full(len(LAYOUT), 0.5),
        raw=np.zeros((len(LAYOUT), 2)),
        measures=Measures(MEASURES, np.array([measures.get(name, np.nan) for name in MEASURES])),
        pose=HeadPose(pose),
        points3d=Points3d(np.column_stack([space * unit, np.ones_like(space)])),
    )


def quaternion(turn: FloatArray) -> FloatArray:
    """x, y, z, w of a rotation by less than half a turn."""
    vector = cv2.Rodrigues(turn)[0][:, 0]
    angle = float(np.linalg.norm(vector))
    return np.append(vector / max(angle, 1e-9) * math.sin(angle / 2), math.cos(angle / 2))


def sent(*faces: Face, unit: float = 1.0) -> list[Packet]:
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    result = make_result(3, *faces, image=image, query=LAYOUT)
    (datagram,) = openseeface_encoder(LAYOUT, clock=lambda: result.time + AGE, unit=unit)(result)
    return parse(datagram)


def test_a_packet_says_what_is_known_of_a_face() -> None:
    face = head(0, 0, 0, 7, left_openness=0.25, right_openness=1.2, mouth_open=0.25)
    before = time.time()
    (packet,) = sent(face)
    assert before - AGE <= packet.time <= time.time() - AGE
    assert (packet.face, packet.width, packet.height, packet.fitted) == (7, *SIZE, 1)
    # The person's right eye is on the left of the image.
    assert (packet.right_open, packet.left_open) == (0.25, 1.0)
    assert packet.features[:2] == pytest.approx([0.2, -0.75]) and packet.features[12] == pytest.approx(0.5)
    assert not packet.features[2:12].any() and packet.error == pytest.approx(0.5)
    kept = [i for i in range(68) if i not in (48, 54)]
    np.testing.assert_allclose(packet.points, face.points[[*kept, 68, 69]], rtol=1e-6)
    assert (packet.confidence > 0.9).all()


def test_expressions_move_brows_and_corners_of_the_mouth() -> None:
    shown = {"browDownLeft": 0.5, "mouthSmileRight": 0.75, "mouthStretchLeft": 0.5, "mouthPucker": 0.25}
    numbers = np.array(
        [shown.get(name, np.nan if name.startswith("browOuterUpRight") else 0.0) for name in EXPRESSION_NAMES]
    )
    (packet,) = sent(replace(head(0, 0, 0), expressions=Expressions(numbers)))
    # From the left brow to the right corner of the mouth: up or down, and in or out.
    assert packet.features[3:12].tolist() == [-0.5, 0, 0, 0, 0, 0, 0.25, -0.75, -0.25]


@pytest.mark.parametrize("angles", [(3, 2, 1), (20, 5, -5), (-20, -10, 0), (25, 10, 5), (-40, -15, 20)])
def test_the_pose_is_that_of_its_own_fit(angles: tuple[float, float, float]) -> None:
    """OpenSeeFace starts OpenCV's fit at 0, for rows and columns: it ends behind the camera. From far both faces look alike."""
    face = head(*angles, distance=60.0)
    (packet,) = sent(face)
    mean = face_model(load_layout("300w").query).mean
    mean = mean / np.linalg.norm(mean[45] - mean[36])
    model = -(mean - mean[30]) * 0.632  # to the left, up and towards the viewer
    stiff = [0, 1, 8, 15, 16, *range(27, 36)]
    camera = np.array([[UNIT * 60, 0, (SIZE[1] - 1) / 2], [0, UNIT * 60, (SIZE[0] - 1) / 2], [0, 0, 1]])
    rows, start = face.points[stiff, ::-1].copy(), np.zeros((2, 3, 1))
    known, vector, translation = cv2.solvePnP(
        model[stiff], rows, camera, None, start[0], start[1], useExtrinsicGuess=True, flags=cv2.SOLVEPNP_ITERATIVE
    )
    assert known and translation[2] < 0
    np.testing.assert_allclose(packet.translation, translation[:, 0], rtol=0.05, atol=0.03)
    turn = cv2.Rodrigues(vector)[0]
    off = (np.array(packet.euler) - cv2.RQDecomp3x3(turn)[0] + 180) % 360 - 180
    assert np.abs(off).max() < 3
    # The numbers x, y, z, w are those of the inverse rotation.
    assert 2 * math.degrees(math.acos(min(abs(quaternion(turn.T) @ packet.quaternion), 1))) < 3


def test_points_in_space_are_those_of_the_face_that_does_not_turn() -> None:
    (packet,) = sent(head(30, 10, 5))
    mean = face_model(load_layout("300w").query).mean
    mean = mean / np.linalg.norm(mean[45] - mean[36])
    expected = (mean[[i for i in range(68) if i not in (48, 54)]] - mean[30]) * 0.632
    np.testing.assert_allclose(packet.points3d[:66] * (-1, 1, 1), expected, atol=1e-5)
    right, left = packet.points3d[68], packet.points3d[69]
    assert right[0] > 0 > left[0] and (packet.points3d[68:, 2] > packet.points3d[66:68, 2] + 0.05).all()


def test_lengths_do_not_depend_on_the_unit_of_places() -> None:
    (one,), (other,) = sent(head(10, 0, 0)), sent(head(10, 0, 0, unit=90.7), unit=90.7)
    np.testing.assert_allclose(other.translation, one.translation, rtol=1e-5)
    np.testing.assert_allclose(other.points3d, one.points3d, atol=1e-5)


def test_faces_share_a_datagram_and_frames_without_send_none() -> None:
    packets = sent(*(head(0, 0, 0, number) for number in range(1, 41)))
    assert [packet.face for packet in packets] == [*range(1, 37)]
    assert openseeface_encoder(LAYOUT, clock=float, unit=1.0)(make_result(3, query=LAYOUT)) == []


def test_a_face_of_unknown_pose_has_its_points_alone() -> None:
    face = head(0, 0, 0)
    assert face.points3d is not None
    face.points3d.array[4] = np.nan
    (packet,) = sent(face)
    assert packet.fitted == 0 and not packet.points3d.any() and not packet.euler.any()
    assert packet.points[8, 1] > 0 and packet.right_open == 1


def test_other_points_are_refused() -> None:
    with pytest.raises(UsageError, match="needs the 68 points and the pupils"):
        openseeface_encoder(QUERY, clock=float, unit=1.0)


def test_a_live_picture_is_sent_without_further_options() -> None:
    with live_datagrams("openseeface") as receive:
        (packet,) = parse(receive())
    assert packet.fitted and (packet.width, packet.height) == (640, 480)
    assert packet.points[36, 0] < packet.points[66, 0] < packet.points[39, 0]
    assert abs(packet.euler[2] - 90) < 30 and -10 < packet.translation[2] < -3
