"""Layouts by name, from files, and from queries."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vtrack.errors import DataError, QueryError
from vtrack.layouts.layout import Layout, points_of
from vtrack.layouts.middles import SUFFIX, with_middles
from vtrack.parts import GROUPS, find_part, nearest, plain
from vtrack.types import Query

_FOLDER = Path(__file__).parent

# The parts that the 68-point layout has: the box of a face is the tight box of its points on them.
CORE_PARTS = tuple(part for part in GROUPS["face"] if part not in GROUPS["pupils"])


def layout_names() -> tuple[str, ...]:
    """All layouts, in order of their names."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def load_layout(name: str) -> Layout:
    """The layout of this name, `300w` for example; `300w+middles` has the middles of eyes, brows and mouth too."""
    if name.endswith(SUFFIX):
        return with_middles(load_layout(name.removesuffix(SUFFIX)))
    if name not in layout_names():
        hint = nearest(name, layout_names(), see=f"there are {', '.join(layout_names())}")
        raise QueryError(f"there is no layout called {name!r}; {hint}")
    return read_layout(_FOLDER / f"{name}.toml")


def read_layout(path: Path) -> Layout:
    """A layout from its file, which may be anyone's own."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        parts, positions, mirror = zip(*content["points"], strict=True)
        mirrors = np.array(mirror, np.intp) - 1
        query = Query(parts, tuple(map(_position, parts, positions)))
        layout = Layout(
            name=path.stem,
            title=content["title"],
            query=query,
            mirror=mirrors,
            inter_ocular=_places(content.get("inter_ocular", ()), len(query)),
            inter_pupil=tuple(_places(eye, len(query)) for eye in content.get("inter_pupil", ())),
            core=_core(query),
            box_shares=tuple(content["box"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a readable layout: {type(error).__name__}: {error}") from error
    every = np.arange(len(query))
    if not (np.isin(mirrors, every).all() and np.array_equal(mirrors[mirrors], every)):
        raise DataError(f"{path}: the mirror image of a point's mirror image must be the point itself")
    return layout


def layout_of_query(name: str, query: Query) -> Layout:
    """A layout for anyone's own points. Each needs its mirror image among them, so that pictures can be flipped."""
    where = {(part, round(position, 6)): i for i, (part, position) in enumerate(points_of(query))}

    def find(part: str, position: float) -> tuple[int, ...]:
        found = where.get((part, round(position, 6)))
        return () if found is None else (found,)

    mirror: list[int] = []
    for part, position in points_of(query):
        other, reflected = find_part(part).mirror, find_part(part).mirrored(position)
        partner = find(other, reflected)
        if not partner:
            raise DataError(
                f"{part}@{position:g} has no mirror image among the points; {other}@{reflected:g} is needed too, "
                "so that pictures can be flipped"
            )
        mirror += partner
    corners = find("left_eye", 0.0) + find("right_eye", 0.5)
    pupils = [
        next((found for part in ("pupil", "eye_center") if (found := find(f"{side}_{part}", 0.0))), ())
        or tuple(query.indices(f"{side}_eye"))
        for side in ("left", "right")
    ]
    return Layout(
        name=name,
        title=f"{name}: {len(query)} points of your own",
        query=query,
        mirror=np.array(mirror, np.intp),
        inter_ocular=corners if len(corners) == 2 else (),
        inter_pupil=tuple(pupils) if all(pupils) else (),
        core=_core(query),
        box_shares=(0.0, 0.0, 0.0, 0.0),
    )


def _core(query: Query) -> npt.NDArray[np.intp]:
    """The points on the parts of the 68-point layout or those like them; all points where there are none."""
    core = np.flatnonzero(np.isin([plain(part) for part in query.parts], CORE_PARTS))
    return core if len(core) else np.arange(len(query))


def _places(numbers: list[int], count: int) -> tuple[int, ...]:
    """Point numbers of a file, from 1, as places from 0."""
    if any(not 1 <= number <= count for number in numbers):
        raise ValueError(f"points are numbered 1 to {count}, got {numbers}")
    return tuple(number - 1 for number in numbers)


def _position(part: str, text: str) -> float:
    """`4.5/9` as a number: positions are written as the papers' tables write them. A closed part's 1 is its 0."""
    above, below = text.split("/")
    position = float(above) / float(below)
    return position % 1.0 if find_part(part).closed else position
