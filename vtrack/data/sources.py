"""Loads a data set by `NAME:PATH`: the name gives the layout, name and path give the reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats.archives import read_zip
from vtrack.data.formats.coco import read_coco
from vtrack.data.formats.matlab import read_aflw, read_cofw, read_cofw68
from vtrack.data.formats.pts import read_pts_tree
from vtrack.data.formats.tables import read_table
from vtrack.data.formats.text_files import read_texts
from vtrack.data.formats.wflw import read_wflw
from vtrack.errors import DataError
from vtrack.layouts import Layout, layout_names, load_layout, read_layout
from vtrack.layouts.middles import SUFFIX, add_middles, with_middles
from vtrack.parts import nearest

SPLITS = ("train", "val", "test", "all")

# Data sets that share the layout of another.
_LAYOUT_OF = dict.fromkeys(("w68", "ytf68", "cofw68", "wflw68", "states68", "turned68"), "300w") | {
    "fgnet68": "xm2vts68"
}
# The points of WFLW, from 0, that stand for 300W's 68 in the literature ("WFLW68"): every second of the jaw, the upper edges of
# the brows, six of the eight of an eye, and all of nose and mouth.
_WFLW68 = (
    *(*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60)),
    *(60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75),
    *range(76, 96),
)
# Readers of data sets as downloaded; zips, CSV and JSON are recognised by their suffix.
_READERS: dict[str, Callable[[str, Layout, Path, str], Dataset]] = {
    "300w": read_pts_tree,
    "wflw": read_wflw,
    "aflw": read_aflw,
    "cofw": read_cofw,
    "cofw68": read_cofw68,
    "lapa106": read_texts,
}
# A table whose columns name part and position needs no layout.
_OWN = "csv"


def load_dataset(spec: str, split: str = "all") -> Dataset:
    """Load a data set.

    Args:
        spec: `NAME:PATH`. NAME is a layout, a data set that has one, a layout file of your own (`mine.toml:PATH`), or `csv`
            for a table whose columns are named by part and position. `w68+middles:PATH` adds the middles of eyes, brows and
            mouth, computed from the points around them. `wflw68:PATH` takes the 68 points of 300W from WFLW.
        split: `train`, `val` (all that is not for training), `test` (the same) or `all`.

    Raises:
        DataError: The name, the file or the split does not exist, or the file cannot be read.

    Example:
        >>> data = load_dataset("frl189:tests/data/london/labels.csv", "val")
        >>> data.points.shape  # in pixels
        (6, 189, 2)
        >>> data.image(0).shape  # RGB
        (352, 352, 3)
    """
    name, colon, place = spec.partition(":")
    if not colon or not place:
        raise DataError(f"{spec!r} is not NAME:PATH, for example 300w:/data/300w; names are {', '.join(known())}")
    if name.endswith(SUFFIX):
        return _with_middles(load_dataset(f"{name.removesuffix(SUFFIX)}:{place}", split))
    if name == "wflw68":
        whole = load_dataset(f"wflw:{place}", split)
        return replace(whole, name=name, layout=layout_of(name), points=whole.points[:, _WFLW68])
    if split not in SPLITS:
        raise DataError(f"there is no split {split!r}; {nearest(split, SPLITS, see='it is train, val or all')}")
    path = Path(place).expanduser()
    layout = None if name == _OWN else layout_of(name)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    title = Path(name).stem if name.endswith(".toml") else name
    suffix = path.suffix.lower() if path.is_file() else ""
    if suffix == ".zip":
        return read_zip(title, layout, path, split)
    if suffix == ".csv":
        return read_table(title, layout, path, split)
    if layout is None:
        raise DataError(f"{path}: the name csv needs a .csv or .zip file")
    if suffix == ".json":
        return read_coco(title, layout, path, split)
    return _READERS.get(name, read_texts)(title, layout, path, split)


def _with_middles(data: Dataset) -> Dataset:
    """A data set with the middles that its points give, its name with the suffix."""
    return replace(
        data,
        name=data.name + SUFFIX,
        layout=with_middles(data.layout),
        points=add_middles(data.layout, data.points).astype(np.float32),
    )


def known() -> tuple[str, ...]:
    """All names allowed before the colon."""
    return tuple(sorted({*layout_names(), *_LAYOUT_OF, _OWN}))


def layout_of(name: str) -> Layout:
    """The layout of a data set's name, or of a file of your own."""
    if name.endswith(SUFFIX):
        return with_middles(layout_of(name.removesuffix(SUFFIX)))
    if name.endswith(".toml"):
        return read_layout(Path(name))
    if name not in known():
        names = ", ".join(known())
        raise DataError(f"there is no layout called {name!r}; {nearest(name, known(), see=f'there are {names}')}")
    return load_layout(_LAYOUT_OF.get(name, name))
