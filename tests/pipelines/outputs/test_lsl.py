"""The stream of Lab Streaming Layer, read back by an inlet of this machine."""

from __future__ import annotations

import builtins
from io import StringIO
from typing import Any

import numpy as np
import pytest

from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.errors import MissingExtraError
from vtrack.measures import POSE_NAMES, HeadPose, Measures
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.streams.emitter import open_emitter
from vtrack.pipelines.outputs.tables.columns import Columns
from vtrack.pipelines.settings import Settings

AGE = 0.25
"""Seconds between the capture of a frame and its sample."""
SETTINGS = Settings(QUERY, measures=True, pose=True)


def test_samples_hold_the_columns_and_the_times_of_capture() -> None:
    pylsl = pytest.importorskip("pylsl")
    pylsl.set_config_content("[multicast]\nResolveScope = machine\n[log]\nlevel = -2\n")
    measures = Measures(MEASURES, np.arange(len(MEASURES)) / 8)
    faces = [
        make_face(number=i, at=at, measures=measures, pose=HeadPose(np.arange(len(POSE_NAMES)) / 4))
        for i, at in ((5, 30.0), (2, 10.0))
    ]
    results = [make_result(3, *faces), make_result(4)]
    times = iter([result.time + AGE for result in results])
    with open_emitter("lsl", "network", SETTINGS, StringIO(), lambda: next(times)) as stream:
        (info,) = pylsl.resolve_byprop("name", "vtrack", timeout=60)
        inlet = pylsl.StreamInlet(info)
        inlet.open_stream(timeout=60)
        before = pylsl.local_clock()
        for result in results:
            stream.write(result)
        after = pylsl.local_clock()
        samples = [inlet.pull_sample(timeout=60) for _ in results]
        labels, offset = inlet.info(timeout=60).get_channel_labels(), inlet.time_correction(timeout=60)
    columns = Columns(QUERY, SETTINGS.measured_groups)
    assert labels == [field.name for field in columns.of_face] and labels[0] == "face"
    assert (info.type(), info.nominal_srate()) == ("MoCap", 0)
    np.testing.assert_allclose(samples[0][0], columns.values(faces[1], results[0].frame), rtol=1e-6)
    assert np.isnan(samples[1][0]).all()
    # One clock of one machine: what is left of the offset is what its measurement costs.
    assert all(before - AGE <= time <= after - AGE for _, time in samples) and abs(offset) < 1


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pylsl":
            raise ImportError(name)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'vtrack\[lsl\]'"):
        open_emitter("lsl", "network", SETTINGS, StringIO(), float)
