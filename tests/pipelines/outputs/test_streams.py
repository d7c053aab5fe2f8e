"""Streams to other programs: OSC messages, datagrams, and what is refused."""

from __future__ import annotations

import json
import socket
import struct
from io import StringIO

import numpy as np
import pytest

from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.errors import UsageError
from vtrack.measures import POSE_NAMES, HeadPose, Measures, Points3d
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.streams.emitter import open_emitter
from vtrack.pipelines.outputs.streams.osc import osc_encoder, osc_message
from vtrack.pipelines.settings import Settings
from vtrack.types import Query


def test_osc_messages_follow_the_standard() -> None:
    assert osc_message("/a", 1, 0.5) == b"/a\0\0,if\0" + struct.pack(">if", 1, 0.5)
    assert len(osc_message("/abc")) % 4 == 0


def test_osc_bundles_fit_into_datagrams() -> None:
    query = Query(("jaw",) * 400 + ("left_eye",) * 2, (*np.linspace(0, 1, 400).tolist(), 0.0, 0.5))
    face = make_face(query, measures=Measures(MEASURES, np.arange(len(MEASURES)) / 8))
    sent = list(osc_encoder(query)(make_result(3, face, query=query)))
    assert len(sent) > 1 and all(bundle.startswith(b"#bundle\0") and len(bundle) % 4 == 0 for bundle in sent)
    everything = b"".join(sent)
    assert all(f"/vtrack/face/1/{name}\0".encode() in everything for name in (*MEASURES, "jaw", "left_eye"))


def test_a_pose_is_one_message_where_it_is_known() -> None:
    pose = HeadPose(np.arange(len(POSE_NAMES)) / 4)
    (bundle,) = osc_encoder(QUERY)(make_result(3, make_face(pose=pose)))
    assert osc_message("/vtrack/face/1/pose", *np.arange(10) / 4) in bundle
    (bundle,) = osc_encoder(QUERY)(make_result(3, make_face(pose=HeadPose(pose.array * np.nan))))
    assert b"pose" not in bundle


def test_points_in_space_are_a_message_for_each_part_that_has_them() -> None:
    places = np.arange(18.0).reshape(3, 6)
    (bundle,) = osc_encoder(QUERY)(make_result(3, make_face(points3d=Points3d(places))))
    assert osc_message("/vtrack/face/1/left_eye/3d", 0.0, 1.0, 2.0, 6.0, 7.0, 8.0) in bundle
    assert osc_message("/vtrack/face/1/jaw/3d", 12.0, 13.0, 14.0) in bundle
    places[2] = np.nan
    (bundle,) = osc_encoder(QUERY)(make_result(3, make_face(points3d=Points3d(places))))
    assert bundle.count(b"/3d") == 1


def test_datagrams_arrive() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        to = f"127.0.0.1:{receiver.getsockname()[1]}"
        result = make_result(3, make_face(measures=Measures(MEASURES, np.zeros(len(MEASURES)))))
        with open_emitter("ndjson", to, Settings(QUERY, measures=True), StringIO(), float) as emitter:
            emitter.write(result)
        line = json.loads(receiver.recv(65536))
        assert line["frame"] == 3 and line["faces"][0]["left_eye_0_x"] == 10.0 and line["faces"][0]["blink"] == 0
        with open_emitter("osc", to, Settings(QUERY), StringIO(), float) as emitter:
            emitter.write(result)
        assert receiver.recv(65536).startswith(b"#bundle\0")


@pytest.mark.parametrize(
    ("format", "to", "message"),
    [
        ("midi", None, "choose from ndjson, osc, vmc, openseeface, lsl"),
        ("osc", "nowhere", "HOST:PORT"),
        ("osc", "a:99999", "HOST:PORT"),
        ("lsl", None, "allow that with --to network"),
        ("lsl", "127.0.0.1:9000", "allow that with --to network"),
    ],
)
def test_invalid_emitters_are_refused(format: str, to: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_emitter(format, to, Settings(QUERY), StringIO(), float)
