"""Middles of parts: points that AFLW and LaPa mark and that can be computed from the points of other data sets.

A layout called `300w+middles` has, behind its own points, the middles of eyes, brows and mouth that the outlines around
them give. A model trained on such points knows these parts even where no data set marks them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vtrack.layouts.layout import Layout
from vtrack.parts import PARTS
from vtrack.types import FloatArray, Query

SUFFIX = "+middles"

# A brow is known all round when it has points below its tip and its inner end (the UDFLD paper, table 11).
_BELOW = (4.6 / 9, 8.4 / 9)
# Where the two lips are nearest each other, halfway along.
_LIPS = (0.25, 0.75)


def with_middles(layout: Layout) -> Layout:
    """The layout with the middles that its points give."""
    found = _sources(layout)
    names = [*layout.query.parts, *found]
    mirror = [*layout.mirror, *(names.index(PARTS[part].mirror) for part in found)]
    positions = (*layout.query.positions, *(0.0 for _ in found))
    return replace(
        layout, name=layout.name + SUFFIX, query=Query(tuple(names), positions), mirror=np.array(mirror, np.intp)
    )


def add_middles(layout: Layout, points: FloatArray) -> FloatArray:
    """Points (..., points, 2) of a layout, and behind them the middles that `with_middles` names."""
    middles = [points[..., ids, :].mean(-2, keepdims=True) for ids in _sources(layout).values()]
    return np.concatenate([points, *middles], -2)


def _sources(layout: Layout) -> dict[str, list[int]]:
    """For each middle that the layout lacks and can give, the points whose mean it is."""
    query, found = layout.query, {}
    for side in ("left", "right"):
        eye, brow = query.indices(f"{side}_eye"), query.indices(f"{side}_brow")
        if len(eye) >= 4:
            found[f"{side}_eye_center"] = eye
        if any(_BELOW[0] < query.positions[i] < _BELOW[1] for i in brow):
            found[f"{side}_brow_center"] = brow
    lips = [i for i in query.indices("inner_lip") if round(query.positions[i], 6) in _LIPS]
    if len(lips) == 2:
        found["mouth_center"] = lips
    return {part: ids for part, ids in found.items() if part not in query.parts}
