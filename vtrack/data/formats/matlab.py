"""Reads MATLAB files: COFW, COFW-68 and AFLW-19. They count pixels from 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats import folders
from vtrack.errors import DataError, MissingExtraError
from vtrack.layouts import Layout
from vtrack.types import FloatArray

_COFW_PARTS = {"train": "Tr", "test": "T"}
_AFLW_INFO = "AFLWinfo_release.mat"
_AFLW_TRAINING = 20000


def read_cofw(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """Read COFW_train_color.mat or COFW_test_color.mat, or their folder; the files contain the photographs."""
    if path.is_file():
        found = {part: path for part, key in _COFW_PARTS.items() if f"phis{key}" in _keys(path)}
    else:
        found = {part: file for part in _COFW_PARTS for file in sorted(path.rglob(f"COFW_{part}*.mat"))[:1]}
    chosen = {part: file for part, file in found.items() if split == "all" or folders.wanted(part, split)}
    if not chosen:
        raise DataError(f"{path}: no COFW file of the split {split!r} in it (they hold phisTr or phisT)")
    files, points, boxes = [], [], []
    for part, file in chosen.items():
        with _open_hdf5(file) as content:
            key = _COFW_PARTS[part]
            try:
                # MATLAB's columns are HDF5's rows: (29 x, 29 y, 29 occluded; faces).
                phis = np.array(content[f"phis{key}"], np.float32).T
                boxes.append(np.array(content[f"bboxes{key}"], np.float32).T)
                count = content[f"Is{key}"].size
            except KeyError as error:
                raise DataError(f"{file}: not a COFW file: {error}") from error
        if phis.shape != (count, 3 * len(layout)):
            raise DataError(f"{file}: points of shape {phis.shape} do not fit {count} faces of {len(layout)}")
        points.append(phis[:, : 2 * len(layout)].reshape(count, 2, -1).transpose(0, 2, 1) - 1)
        files += [f"{part}/{i:04d}" for i in range(count)]
    joined = np.concatenate(boxes) - (1, 1, 0, 0)
    return Dataset(
        name, layout, tuple(files), np.concatenate(points), tuple(files), _cofw_pictures(chosen), boxes=joined
    )


def read_cofw68(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """Read the 68-point annotations of COFW's test part: `*_points.mat`, and COFW_test_color.mat in the same folder tree."""
    if split == "train":
        raise DataError(f"{path}: COFW-68 has no training part")
    numbered = {_number(file): file for file in path.rglob("*_points.mat")}
    pictures = sorted(path.rglob("COFW_test*.mat"))
    if not numbered or not pictures:
        raise DataError(f"{path}: COFW-68 needs files *_points.mat and COFW_test_color.mat")
    points = np.stack([_points68(file, len(layout)) for _, file in sorted(numbered.items())])
    files = tuple(f"test/{number - 1:04d}" for number in sorted(numbered))
    return Dataset(name, layout, files, points, files, _cofw_pictures({"test": pictures[0]}))


def read_aflw(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """Read AFLW-19: AFLWinfo_release.mat, and the photographs in `data/flickr` or beside it."""
    info = path if path.is_file() else next(iter(sorted(path.rglob(_AFLW_INFO))), path / _AFLW_INFO)
    content = _load_mat(info)
    try:
        order = np.asarray(content["ra"]).reshape(-1).astype(np.intp) - 1
        flat = np.asarray(content["data"], np.float32)
        visible = np.atleast_1d(np.asarray(content["mask_new"], np.bool_).reshape(len(flat), -1).all(axis=1))
        edges = np.asarray(content["bbox"], np.float32)
        names = [str(np.ravel(cell)[0]) for cell in np.ravel(content["nameList"])]
    except KeyError as error:
        raise DataError(f"{info}: not {_AFLW_INFO}: {error} is missing") from error
    if flat.shape != (len(names), 2 * len(layout)) or not len(names) == len(edges) == len(order):
        raise DataError(f"{info}: points of shape {flat.shape} do not fit {len(names)} names and {len(edges)} boxes")
    places = {"train": order[:_AFLW_TRAINING], "all": order}.get(split, order[_AFLW_TRAINING:])
    if not len(places):
        raise DataError(f"{info}: no faces in the split {split!r}")
    files = tuple(names[i] for i in places)
    points = flat[places].reshape(len(places), 2, -1).transpose(0, 2, 1) - 1
    left, right, top, bottom = edges[places].T
    home = info.parent
    root = folders.choose_root((home / "data" / "flickr", home / "flickr", home, home / "images"), files[0])
    return Dataset(
        name,
        layout,
        files,
        points,
        files,
        folders.reader(root, info),
        {"frontal": visible[places]} if visible[places].any() else {},
        np.stack([left - 1, top - 1, right - left, bottom - top], 1),
    )


def _cofw_pictures(parts: dict[str, Path]) -> Callable[[str], bytes]:
    """A function that reads the picture `part/number` from the MATLAB files, as PNG bytes."""

    def read(name: str) -> bytes:
        part, number = name.split("/")
        with _open_hdf5(parts[part]) as content:
            cells = content[f"Is{_COFW_PARTS[part]}"]
            if int(number) >= cells.size:
                raise DataError(f"{parts[part]}: there is no picture {int(number) + 1} in it")
            picture = np.array(content[np.ravel(cells)[int(number)]], np.uint8)
        # MATLAB's (H, W, 3) comes as (3, W, H), a grey one as (W, H).
        upright = picture.T if picture.ndim == 2 else picture.transpose(2, 1, 0)[..., ::-1]
        return bytes(cv2.imencode(".png", np.ascontiguousarray(upright))[1])

    return read


def _points68(file: Path, count: int) -> FloatArray:
    points = np.asarray(_load_mat(file).get("Points", ()), np.float32)
    if points.shape != (count, 2):
        raise DataError(f"{file}: Points of shape {points.shape}, but {(count, 2)} is expected")
    return points - 1


def _number(file: Path) -> int:
    """Number of the picture, from 1, in the name of a COFW-68 file."""
    stem = file.stem.removesuffix("_points")
    if not stem.isdigit():
        raise DataError(f"{file}: its name should be a number and _points.mat")
    return int(stem)


def _load_mat(file: Path) -> dict[str, Any]:
    # Slow to import; two formats need it.
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content: dict[str, Any] = loadmat(file)
    except (OSError, ValueError, IndexError, NotImplementedError, TypeError, MatReadError) as error:
        raise DataError(f"{file}: not a readable MATLAB file: {error}") from error
    return content


def _keys(file: Path) -> set[str]:
    with _open_hdf5(file) as content:
        return set(content)


def _open_hdf5(file: Path) -> Any:
    """A MATLAB 7.3 file, which is HDF5."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(f"{file}: MATLAB 7.3 files need the mat extra: pip install 'vtrack[mat]'") from error
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise DataError(f"{file}: not a readable MATLAB 7.3 file: {error}") from error
