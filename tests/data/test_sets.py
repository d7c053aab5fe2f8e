"""Real annotated photographs: sixteen faces that are always there, and the data sets at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import LONDON
from vtrack.data import Dataset, load_dataset, outliers


def test_sixteen_faces(faces_dir: Path) -> None:
    train, val = (load_dataset(f"frl189:{faces_dir / 'frl189.zip'}", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (10, 6)
    assert not set(train.groups) & set(val.groups)
    for data in (train, val):
        eyes = data.points[:, [*data.layout.query.indices("left_pupil"), *data.layout.query.indices("right_pupil")]]
        for number, ((left, _), (right, _)) in enumerate(eyes):
            assert data.image(number).shape == (352, 352, 3)
            assert 90 < left < 176 < right < 262
    table = load_dataset(f"frl189:{LONDON / 'labels.csv'}", "val")
    assert np.array_equal(table.points, val.points) and table.read(table.files[0]) == val.read(val.files[0])
    assert "CC BY 4.0" in (LONDON / "README.md").read_text(encoding="utf-8")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "layout", "train", "val"),
    [
        *[("w68", "300w", 1790, 222), ("ytf68", "300w", 3090, 372), ("fgnet68", "xm2vts68", 946, 56)],
        *[("scut86", "scut86", 3046, 254), ("frl189", "frl189", 262, 50), ("helen29", "helen29", 312, 36)],
        ("imm73", "imm73", 90, 30),
    ],
)
def test_the_zips(data_dir: Path, name: str, layout: str, train: int, val: int) -> None:
    both = [load_dataset(f"{name}:{data_dir / name}.zip", split) for split in ("train", "val")]
    assert [len(data) for data in both] == [train, val]
    assert both[0].layout.name == layout
    assert not set(both[0].groups) & set(both[1].groups)
    assert both[1].image(0).ndim == 3


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "layout"), [("300w", "300w"), ("wflw", "wflw"), ("aflw", "aflw"), ("cofw", "cofw"), ("lapa", "lapa106")]
)
def test_the_public_samples_fit_their_layouts(data_dir: Path, name: str, layout: str) -> None:
    """Left parts lie left of right ones, brows above eyes, eyes above the mouth, in real annotations of each format."""
    data = load_dataset(f"{layout}:{data_dir / 'formats' / name / f'test_{name}.json'}", "val")
    query = data.layout.query
    for face in data.points:
        middle = {part: face[query.indices(part)].mean(0) for part in set(query.parts)}
        assert middle["left_eye"][0] < middle["right_eye"][0]
        assert middle["left_brow"][1] < middle["left_eye"][1] < middle["outer_lip"][1]
    assert data.image(0).shape[2] == 3


@pytest.mark.data
def test_a_cofw68_annotation(data_dir: Path) -> None:
    from vtrack.data.formats.matlab import _points68

    points = _points68(data_dir / "formats" / "cofw68_sample.mat", 68)
    assert points.shape == (68, 2) and points[36, 0] < points[45, 0] and points[8, 1] == points[:, 1].max()


@pytest.mark.data
def test_wrong_labels_are_found(data_dir: Path) -> None:
    data = load_dataset(f"imm73:{data_dir / 'imm73.zip'}", "train")
    assert not outliers(data).any()
    spoilt = data.points.copy()
    spoilt[5, [3, 40, 60]] = spoilt[5, [40, 60, 3]]
    made = Dataset(data.name, data.layout, data.files, spoilt, data.groups, data.read)
    assert list(np.flatnonzero(outliers(made))) == [5]
    assert not outliers(made[np.arange(20)]).any()
