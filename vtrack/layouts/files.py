"""Layouts by name, from files, and from queries."""

from __future__ import annotations

import math
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.errors import DataError, QueryError
from vtrack.layouts.layout import Layout, points_of
from vtrack.layouts.middles import SUFFIX, with_middles
from vtrack.parts import GROUPS, find_part, nearest, plain
from vtrack.types import Query

_FOLDER = Path(__file__).parent
_LARGEST_FILE = 1 << 20
"""Bytes of a layout; the largest shipped one, of 468 points, has a fiftieth of it."""
_MOST_POINTS = 5000
"""As many as a query may ask for."""
_LONGEST_NAME = 100
"""Letters of a part's name; the longest has 19."""

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
    """A layout from its file, which may be anyone's own.

    Raises:
        DataError: The file cannot be read or is not a layout.
    """
    try:
        layout = _layout(path.stem, tomllib.loads(_text(path)))
    except OSError as error:
        raise DataError(f"{path}: this layout cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not a readable layout: it is nested too deeply") from error
    except KeyError as error:
        raise DataError(f"{path}: not a readable layout: it has no {error}") from error
    except ValueError as error:  # no UTF-8, no TOML, or values that cannot be
        raise DataError(f"{path}: not a readable layout: {error}") from error
    return layout


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"it is larger than {_LARGEST_FILE >> 20} MB")
    return content.decode("utf-8")


def _layout(name: str, content: dict[str, Any]) -> Layout:
    """The layout of a file's content; raises `KeyError` for what is missing and `ValueError` for what cannot be."""
    title, points, box = content["title"], content["points"], content["box"]
    if not isinstance(title, str):
        raise ValueError("title must be a text")
    if not isinstance(points, list) or not 1 <= len(points) <= _MOST_POINTS:
        raise ValueError(f"points must be a list of 1 to {_MOST_POINTS}")
    if not all(isinstance(point, list) and len(point) == 3 for point in points):
        raise ValueError("each point must be a list of its part, its position and the number of its mirror image")
    parts, positions, mirror = zip(*points, strict=True)
    query = Query(parts, tuple(map(_position, parts, positions)))
    mirrors = _places(mirror, len(query))
    if any(mirrors[partner] != place for place, partner in enumerate(mirrors)):
        raise ValueError("the mirror image of a point's mirror image must be the point itself")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_share(share) for share in box):
        raise ValueError("box must be a list of 4 shares of the box's size, each from -1 to 1")
    pupils = content.get("inter_pupil", [])
    if not isinstance(pupils, list) or len(pupils) not in (0, 2) or not all(pupils):
        raise ValueError("inter_pupil must be two lists of points, of the left and of the right eye")
    corners = _places(content.get("inter_ocular", []), len(query))
    if len(corners) not in (0, 2):
        raise ValueError("inter_ocular must be two points, the outer corners of the eyes")
    return Layout(
        name=name,
        title=title,
        query=query,
        mirror=np.array(mirrors, np.intp),
        inter_ocular=corners,
        inter_pupil=tuple(_places(eye, len(query)) for eye in pupils),
        core=_core(query),
        box_shares=(box[0], box[1], box[2], box[3]),
    )


def layout_of_query(name: str, query: Query) -> Layout:
    """A layout for user-defined points. Each needs its mirror image among them, so that pictures can be flipped."""
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


def _places(numbers: Any, count: int) -> tuple[int, ...]:
    """Point numbers of a file, from 1, as places from 0."""
    if not isinstance(numbers, list | tuple) or not all(
        type(number) is int and 1 <= number <= count for number in numbers
    ):
        raise ValueError(f"points are numbered 1 to {count}, got {str(numbers)[:80]}")
    return tuple(number - 1 for number in numbers)


def _position(part: Any, text: Any) -> float:
    """`4.5/9` as a number: positions are written as the papers' tables write them. A closed part's 1 is its 0."""
    if not isinstance(part, str) or not isinstance(text, str) or text.count("/") != 1 or len(part) > _LONGEST_NAME:
        raise ValueError(f"a part must be a text and its position one such as 4.5/9, got {str([part, text])[:80]}")
    above, below = map(float, text.split("/"))
    if not (0 < below < math.inf and 0 <= above <= below):  # false for NaN, too
        raise ValueError(f"positions along a part go from 0/1 to 1/1, got {text[:40]}")
    position = above / below
    return position % 1.0 if find_part(part).closed else position


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and -1 <= value <= 1
