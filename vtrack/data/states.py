"""Reads faces with a state: eyes closed or half closed, mouth open, mask. Their points are those of mediapipe's face mesh.

A zip of `images/` and a `labels.csv` whose columns are `file,split,group,state` and then `x1,y1` to `x478,y478`.
"""

from __future__ import annotations

import csv
import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.data.dataset import Dataset
from vtrack.data.formats import folders
from vtrack.data.formats.archives import LARGEST_PICTURE, read_member
from vtrack.data.formats.tables import LARGEST_TABLE
from vtrack.data.mesh_labels import VERTICES
from vtrack.errors import DataError, EmptySplitError
from vtrack.layouts import load_layout

_LEADING = ["file", "split", "group", "state"]
_MESH = 478
"""Number of vertices of the mesh, irises included."""


@dataclass(frozen=True, eq=False, slots=True)
class StateFaces:
    """Faces of one split with their states."""

    data: Dataset
    """The faces in the layout `mesh`."""
    states: tuple[str, ...]
    """State of each face: `closed`, `half`, `open`, `mouth`, `yawn`, `wink`, or several joined by `+`."""

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, which: Any) -> StateFaces:
        """The faces selected by a slice, a boolean array or a list."""
        places = np.arange(len(self))[which].reshape(-1)
        return StateFaces(self.data[places], tuple(self.states[i] for i in places))

    def has(self, state: str) -> npt.NDArray[np.bool_]:
        """(faces,) bool: whether a face has this state."""
        return np.array([state in one.split("+") for one in self.states], np.bool_)

    def of_group(self, prefix: str) -> npt.NDArray[np.bool_]:
        """(faces,) bool: whether the group starts with a prefix, `cew:` for faces whose eyes people judged closed."""
        return np.array([group.startswith(prefix) for group in self.data.groups], np.bool_)


def read_states(path: Path, split: str) -> StateFaces:
    """Read the faces of one split of a zip.

    Args:
        path: The zip.
        split: `train`, `val` or `all`.

    Raises:
        DataError: The zip cannot be read or has other columns.
        EmptySplitError: The split has no faces.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            table = read_member(archive, path, "labels.csv", LARGEST_TABLE)
            header, *rows = csv.reader(io.StringIO(table.decode("utf-8-sig")))
            rows = [row for row in rows if split == "all" or folders.wanted(row[1], split)]
            content = {row[0]: read_member(archive, path, row[0], LARGEST_PICTURE) for row in rows}
            numbers = np.array([row[len(_LEADING) :] for row in rows], np.float32)
    except DataError:
        raise
    except (OSError, KeyError, IndexError, ValueError, NotImplementedError, zipfile.BadZipFile, struct.error) as error:
        raise DataError(f"{path}: not a readable zip of faces with states: {error}") from error
    if header[: len(_LEADING)] != _LEADING or len(header) != len(_LEADING) + 2 * _MESH:
        raise DataError(f"{path}: the columns must be {','.join(_LEADING)} and the {_MESH} points of the mesh")
    if not rows:
        raise EmptySplitError(f"{path}: no faces in the split {split!r}")
    vertices = numbers.reshape(len(rows), _MESH, 2)
    data = Dataset(
        path.stem,
        load_layout("mesh"),
        tuple(row[0] for row in rows),
        vertices[:, VERTICES],
        tuple(row[2] for row in rows),
        content.__getitem__,
    )
    return StateFaces(data, tuple(row[3] for row in rows))
