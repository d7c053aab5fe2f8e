"""Places in space of any points: on the ray through the pixel where each was found, at the depth of the fitted face.

The fitted face has the 68 points of the layout `300w`. A point between two of them on the same part lies between their depths;
any other point of the face has the depth of the mean face (`vtrack.data.mean_face`) where the part lies on the template, moved
by the modes of the 68 points around it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from vtrack.data.mean_face import mean_face
from vtrack.layouts import load_layout
from vtrack.measures import Points3d
from vtrack.pipelines.measures.face_fit import FaceFit, face_model
from vtrack.pipelines.measures.pose import EyeDistance, eye_span, span_sd
from vtrack.template import load_template
from vtrack.types import FloatArray, Query

_LAYOUT = load_layout("300w").query
_OFF_FACE = {
    "hairline",
    "hair",
    "neck",
    *(f"{side}_{name}" for side in ("left", "right") for name in ("ear", "ear_base")),
}
"""Parts of the head beside the face, of whose depth nothing is known."""
_SLACK = 1e-6
"""By how much a position may be rounded."""


class SurfacePoints(NamedTuple):
    """Where points of a query lie on the face in space."""

    mean: FloatArray
    """(points, 3) on the mean face, in the axes of the head; NaN where the face has no such point."""
    modes: FloatArray
    """(modes, points, 3) offsets by one standard deviation."""
    residual: FloatArray
    """(points,) standard deviation of each coordinate that the modes leave, in units."""


@lru_cache(maxsize=8)
def surface_points(query: Query) -> SurfacePoints:
    """Where the points of a query lie on the face in space."""
    model, template, vertices = face_model(_LAYOUT), load_template(), mean_face().vertices
    moved = np.column_stack([model.modes.transpose(1, 0, 2).reshape(len(_LAYOUT), -1), model.residual])
    known = template.locate(_LAYOUT)
    shifts = np.column_stack([model.mean[:, :2] - known, moved])
    shift_at, depth_at = _interpolator(known, shifts), _interpolator(vertices[:, :2], vertices[:, 2:])
    values = np.full((len(query), 3 + moved.shape[1]), np.nan)
    for part in (set(query.parts) & set(template.curves)) - _OFF_FACE:
        curve, places, own = template.curves[part], np.array(query.indices(part)), _LAYOUT.indices(part)
        positions = np.array([query.positions[i] for i in places])
        flat = curve.at(positions)
        shift = shift_at(flat)
        flat = flat + shift[:, :2]
        values[places] = np.column_stack([flat, depth_at(flat), shift[:, 2:]])
        if own:
            knots = np.array([_LAYOUT.positions[i] for i in own])
            along = curve.closed | (positions > knots[0] - _SLACK) & (positions < knots[-1] + _SLACK)
            columns, period = np.column_stack([model.mean, moved])[own].T, 1.0 if curve.closed else None
            on_curve = np.stack([np.interp(positions, knots, column, period=period) for column in columns], -1)
            values[places[along]] = on_curve[along]
    modes = values[:, 3:-1].reshape(len(query), -1, 3).transpose(1, 0, 2)
    return SurfacePoints(values[:, :3], np.ascontiguousarray(modes), values[:, -1])


def _interpolator(places: FloatArray, values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """What interpolates values (n, m) between places (n, 2), and takes those of the nearest place beyond all of them."""
    between, beyond = LinearNDInterpolator(places, values), NearestNDInterpolator(places, values)

    def at(asked: FloatArray) -> FloatArray:
        found = between(asked)
        return np.where(np.isnan(found), beyond(asked), found)

    return at


def points_in_space(
    fit: FaceFit, query: Query, points: FloatArray, sigma: FloatArray, size: tuple[int, int], distance: EyeDistance
) -> list[Points3d]:
    """Places in space of the points of fitted faces.

    Args:
        fit: The faces in space.
        query: What the points are.
        points: (faces, points, 2) in pixels.
        sigma: (faces, points) their standard deviations in pixels.
        size: Width and height of the frame in pixels.
        distance: What one distance between the outer corners of the eyes is.
    """
    surface, count, focal = surface_points(query), len(fit.shape), fit.focal[:, None]
    forward = fit.rotation[:, 2]  # (faces, 3) depth is this times a place in the axes of the head
    local = surface.mean + np.tensordot(fit.shape, surface.modes, 1)
    arm = local @ fit.rotation.transpose(0, 2, 1)
    depth = arm[..., 2] + fit.translation[:, None, 2]
    length, stretch = eye_span(fit)
    # How the depth changes with a small turn, the translation, and the coefficients of the modes, as in `pose`.
    slope = np.zeros((*depth.shape, fit.covariance.shape[-1]))
    slope[..., 0], slope[..., 1], slope[..., 5] = arm[..., 1], -arm[..., 0], 1.0
    slope[..., 6:] = np.einsum("fc,mpc->fpm", forward, surface.modes)
    slope[..., 6:] -= depth[..., None] * stretch[:, None]
    variance = ((slope @ fit.covariance) * slope).sum(-1) + np.square(surface.residual)
    unit = distance.mean / length
    rays = np.concatenate([(points - (np.array(size) - 1) / 2) / focal[..., None], np.ones((count, len(query), 1))], -1)
    places = rays * (depth * unit)[..., None]
    deviations = rays * (np.sqrt(variance) * unit)[..., None]
    across = np.zeros_like(places)
    across[..., :2] = (sigma / focal * depth * unit)[..., None]
    of_length = places * np.hypot(distance.sd / distance.mean, span_sd() / length)[..., None]
    total = np.sqrt(np.square(deviations) + np.square(across) + np.square(of_length))
    rows = np.concatenate([places, total], -1)
    rows[np.isnan(rows).any(-1)] = np.nan
    return [Points3d(row) for row in rows]
