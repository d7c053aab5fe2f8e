"""`name:path` to a data set: which layout the name stands for, which reader the path needs."""

from __future__ import annotations

from pathlib import Path

from vtrack.data.dataset import Dataset
from vtrack.data.zips import read_zip
from vtrack.errors import DataError, QueryError
from vtrack.layouts import Layout, layout_names, load_layout
from vtrack.parts import nearest

# Data sets that share the layout of another.
_LAYOUT_OF = {"w68": "300w", "ytf68": "300w", "cofw68": "300w", "fgnet68": "xm2vts68"}


def load_dataset(spec: str, split: str = "all") -> Dataset:
    """The data set that `name:path` tells, for example `w68:../shared/data/w68.zip`; `split` is train, val or all."""
    name, colon, place = spec.partition(":")
    if not colon or not place:
        raise DataError(f"{spec!r} is not NAME:PATH, for example 300w:/data/300w; the layouts are {', '.join(known())}")
    path = Path(place).expanduser()
    layout = layout_of(name)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.suffix.lower() == ".zip":
        return read_zip(name, layout, path, split)
    raise DataError(f"{path}: no reader for this kind of file; a zip with labels.csv is read")


def known() -> tuple[str, ...]:
    """Every name that may stand before the colon."""
    return tuple(sorted({*layout_names(), *_LAYOUT_OF}))


def layout_of(name: str) -> Layout:
    """The layout of a data set's name."""
    if name not in known():
        raise QueryError(f"there is no layout called {name!r}; {nearest(name, known(), see=f'there are {known()}')}")
    return load_layout(_LAYOUT_OF.get(name, name))
