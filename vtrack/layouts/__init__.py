"""Layouts: what each point of a data set is. One TOML file each, beside this module; a new data set is a new file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vtrack.errors import QueryError
from vtrack.parts import GROUPS, find_part, nearest, widened_box
from vtrack.types import FloatArray, Query

_FOLDER = Path(__file__).parent

# The parts that the 68-point layout has: the box of a face is the tight box of its points on them.
CORE_PARTS = tuple(part for part in GROUPS["face"] if part not in GROUPS["pupils"])


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """The fixed list of points of a data set. Points are counted from 0 here, from 1 in the files."""

    name: str
    title: str
    query: Query
    """Part and position of each point."""
    mirror: npt.NDArray[np.intp]
    """(points,) in a flipped image, point i is what point `mirror[i]` was."""
    inter_ocular: tuple[int, int]
    """The outer eye corners; their distance normalises errors."""
    inter_pupil: tuple[tuple[int, ...], tuple[int, ...]]
    """The points whose means are the pupils."""
    core: npt.NDArray[np.intp]
    """The points that the face box is told from."""
    box_shares: tuple[float, float, float, float]
    """From the tight box of the core points to that of the 68: left, top, right, bottom."""

    def __len__(self) -> int:
        return len(self.query)

    def face_box(self, points: FloatArray) -> FloatArray:
        """(n, 4) tight 68-point boxes x, y, w, h of faces (n, points, 2), so that crops look alike in all data sets."""
        return widened_box(np.asarray(points)[..., self.core, :], self.box_shares)

    def flip(self, points: FloatArray, width: float) -> FloatArray:
        """Points (..., points, 2) after their image, `width` pixels wide, is flipped left to right."""
        flipped = np.array(points, copy=True)[..., self.mirror, :]
        flipped[..., 0] = width - 1 - flipped[..., 0]
        return flipped


def layout_names() -> tuple[str, ...]:
    """All layouts, in order of their names."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def load_layout(name: str) -> Layout:
    """The layout of this name, `300w` for example."""
    if name not in layout_names():
        hint = nearest(name, layout_names(), see=f"there are {', '.join(layout_names())}")
        raise QueryError(f"there is no layout called {name!r}; {hint}")
    return read_layout(_FOLDER / f"{name}.toml")


def read_layout(path: Path) -> Layout:
    """A layout from its file."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    parts, positions, mirror = zip(*content["points"], strict=True)
    places = [find_part(part) for part in parts]
    values = tuple(
        _fraction(text) % 1.0 if part.closed else _fraction(text) for part, text in zip(places, positions, strict=True)
    )
    mirrors = np.array(mirror, np.intp) - 1
    if not np.array_equal(mirrors[mirrors], np.arange(len(mirrors))):
        raise QueryError(f"{path.name}: the mirror image of a point's mirror image must be the point")
    left, right = content["inter_ocular"]
    one, other = content["inter_pupil"]
    return Layout(
        name=path.stem,
        title=content["title"],
        query=Query(parts, values),
        mirror=mirrors,
        inter_ocular=(left - 1, right - 1),
        inter_pupil=(tuple(i - 1 for i in one), tuple(i - 1 for i in other)),
        core=np.flatnonzero(np.isin(parts, CORE_PARTS)),
        box_shares=tuple(content["box"]),
    )


def _fraction(text: str) -> float:
    """`4.5/9` as a number; positions are written as the papers' tables write them."""
    above, below = text.split("/")
    return float(above) / float(below)
