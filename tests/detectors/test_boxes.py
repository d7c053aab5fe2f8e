"""Boxes from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.detectors.pictures import frame
from vtrack.detectors import load_detector
from vtrack.errors import DataError


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def empty(index: int) -> object:
    return frame(np.zeros((8, 8, 3), np.uint8), index)


def test_boxes_by_frame_best_first(tmp_path: Path) -> None:
    path = table(tmp_path / "b.csv", "frame,x,y,w,h,score,face\n3,1,2,30,40,0.5,1\n3,-5,6,70,80,0.9,0\n7,1,1,2,2,,\n")
    detector = load_detector("boxes", model_path=path)
    found = detector.detect([empty(i) for i in (2, 3, 7)])  # type: ignore[misc]
    assert [len(faces) for faces in found] == [0, 2, 1]
    np.testing.assert_allclose(found[1].boxes, [[-5, 6, 70, 80], [1, 2, 30, 40]])
    np.testing.assert_allclose(found[1].scores, [0.9, 0.5])
    assert found[2].scores[0] == 1


def test_a_table_of_vtrack_gives_boxes(tmp_path: Path) -> None:
    text = "frame,time_s,face,presence,box_x,box_y,box_w,box_h,lips_0_x\n0,0.0,,,,,,,\n1,0.04,0,0.75,10,20,30,40,5.5\n"
    found = load_detector("boxes", model_path=table(tmp_path / "t.csv", text)).detect([empty(0), empty(1)])  # type: ignore[list-item]
    assert len(found[0]) == 0
    np.testing.assert_allclose(found[1].boxes, [[10, 20, 30, 40]])
    np.testing.assert_allclose(found[1].scores, [0.75])


def test_threshold(tmp_path: Path) -> None:
    path = table(tmp_path / "b.csv", "frame,x,y,w,h,score\n0,1,2,3,4,0.4\n0,1,2,3,4,0.6\n")
    [found] = load_detector("boxes", model_path=path, threshold=0.5).detect([empty(0)])  # type: ignore[list-item]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column frame, x, y, w, h"),
        ("frame,x,y,w\n", "no column h"),
        ("frame,x,y,w,h\n0,1,2,three,4\n", "line 2: not a number"),
        ("frame,x,y,w,h\n0,1,2,3,4\n0.5,1,2,3,4\n", "line 3: not a number"),
        ("frame,x,y,w,h\n0,1,2,0,4\n", "width and height above 0"),
        ("frame,x,y,w,h\n-1,1,2,3,4\n", "frames count from 0"),
        ("frame,x,y,w,h\n0,nan,2,3,4\n", "width and height above 0"),
        ("frame,x,y,w,h,score\n0,1,2,3,4,7\n", "scores lie in 0..1"),
        ("frame,x,y,w,h\n0,1\n", "not a number"),
        ("frame,x,y,w,h\n0,1e308,2,3,4\n", "line 2: a box beyond 1e\\+06 pixels"),
        ("frame,x,y,w,h\n0,1,2,1e39,4\n", "line 2: a box beyond 1e\\+06 pixels"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_detector("boxes", model_path=table(tmp_path / "bad.csv", text))


def test_unreadable_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_detector("boxes", model_path=tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00frame")
    with pytest.raises(DataError, match="not a CSV table"):
        load_detector("boxes", model_path=tmp_path / "binary.csv")
