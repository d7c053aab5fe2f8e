"""Lines between neighbouring points of a query: a triangulation of the face's template, without the eyes and the open mouth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vtrack.template import load_template
from vtrack.types import Query

_HOLES = ("left_eye", "right_eye", "inner_lip", "left_mesh_eye", "right_mesh_eye", "mesh_inner_lip")
"""Closed parts of which only neighbouring points are joined."""


@lru_cache(maxsize=8)
def wireframe(query: Query) -> npt.NDArray[np.intp]:
    """(lines, 2) indices of the points that lines join; points of parts that the template lacks have none."""
    from scipy.spatial import Delaunay  # not needed by other drawings

    curves = load_template().curves
    places = np.full((len(query), 2), np.nan)
    for part in {*query.parts} & {*curves}:
        chosen = query.indices(part)
        places[chosen] = curves[part].at(np.array([query.positions[i] for i in chosen]))
    known = np.flatnonzero(np.isfinite(places[:, 0]))
    _, first = np.unique(places[known].round(6), axis=0, return_index=True)  # of points in one place, the first
    corners = known[first]
    if np.linalg.matrix_rank(places[corners] - places[corners[:1]], tol=1e-3) < 2:
        return np.zeros((0, 2), np.intp)
    triangles = corners[Delaunay(places[corners]).simplices]
    lines = np.unique(np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1), axis=0)
    for part in _HOLES:
        around = sorted(query.indices(part), key=lambda i: query.positions[i])
        rank = np.full(len(query), -1)
        rank[around] = np.arange(len(around))
        ends = rank[lines]
        apart = np.abs(ends[:, 0] - ends[:, 1])
        lines = lines[(ends < 0).any(1) | (apart == 1) | (apart == len(around) - 1)]
    return lines
