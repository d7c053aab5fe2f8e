"""Any point of any part from the fixed points of one layout.

A queried point is a weighted sum of the layout's points. If the layout has points on its part, it lies on a cubic curve
through them; else it is taken from the face template, warped to the layout's points by a thin-plate spline. The weights
depend on part and position only, so they are tabulated, and a query reads them from the table.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from vtrack.layouts import Layout
from vtrack.parts import PARTS
from vtrack.template import Curve, load_template
from vtrack.text import embed
from vtrack.types import FloatArray

STEPS = 144
"""Steps of the table along a part: layouts' positions in 16ths, 12ths, 9ths, 8ths and their multiples fall on one."""

WIDE = 0.2
"""Gap between two neighbouring points, along the part, above which the template's shape is used instead of a curve."""

STIFFNESS = 1e-3
"""Regularisation of the thin-plate spline: small, since points that nearly coincide on the template may lie apart on a face."""


class LayoutCurves(nn.Module):
    """Weights of a layout's points for queried points; nothing here is learned."""

    names: Tensor
    table: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        template = load_template()
        parts = [part for part in PARTS if part in template.curves or part in layout.query.parts]
        plate = _Plate(template.locate(layout.query))
        rows = np.stack([_rows(layout, part, template.curves.get(part), plate) for part in parts])
        # Not saved with the weights, since they follow from the layout.
        self.register_buffer("names", torch.from_numpy(embed(parts)), persistent=False)
        self.register_buffer("table", torch.from_numpy(rows.astype(np.float32)), persistent=False)

    def forward(self, parts: Tensor, positions: Tensor) -> Tensor:
        """(Q, L) weights for text vectors (Q, 384) and positions (Q,); free text stands for the most similar part."""
        part = (parts[:, None] * self.names).sum(-1).argmax(-1)
        place = positions.clamp(0.0, 1.0) * STEPS
        before = place.floor().clamp(max=STEPS - 1)
        share = (place - before)[:, None]
        step = before.long()
        return torch.lerp(self.table[part, step], self.table[part, step + 1], share)


def _rows(layout: Layout, part: str, curve: Curve | None, plate: _Plate) -> FloatArray:
    """(STEPS + 1, L) weights along a part."""
    grid = np.linspace(0.0, 1.0, STEPS + 1)
    closed = PARTS[part].closed
    carried = None if curve is None else plate.weights(curve.at(grid))
    ids = sorted(layout.query.indices(part), key=lambda i: layout.query.positions[i])
    if not ids:
        assert carried is not None
        return carried
    knots, unit = np.array([layout.query.positions[i] for i in ids]), np.eye(len(layout))[ids]
    if closed:  # once around, and the first point again
        knots, unit = np.append(knots, knots[0] + 1), np.concatenate([unit, unit[:1]])
        grid = np.where(grid < knots[0], grid + 1, grid)
    if carried is None or curve is None:
        return _spline(knots, unit, closed)(grid.clip(knots[0], knots[-1]))
    # The warped template, moved onto the points, and in between by as much as its neighbours; also beyond the last point.
    moves = unit - plate.weights(curve.at(knots % 1.0 if closed else knots))
    before = (np.searchsorted(knots, grid + 1e-9) - 1).clip(0, max(len(knots) - 2, 0))
    if len(knots) == 1:
        return carried + moves
    gaps = np.diff(knots)[before]
    share = ((grid - knots[before]) / gaps).clip(0, 1)[:, None]
    moved = carried + (1 - share) * moves[before] + share * moves[before + 1]
    on = _spline(knots, unit, closed)(grid.clip(knots[0], knots[-1]))
    near = (gaps < WIDE) & (grid > knots[0] - 1e-9) & (grid < knots[-1] + 1e-9)
    return np.where(near[:, None], on, moved)


def _spline(knots: FloatArray, values: FloatArray, closed: bool) -> CubicSpline:
    """A smooth curve through values (n, L) at knots (n,)."""
    if len(knots) == 1:
        return lambda at: np.repeat(values, len(at), 0)
    return CubicSpline(knots, values, bc_type="periodic" if closed else "natural")


class _Plate:
    """A thin-plate spline with control points where the template has a layout's points."""

    def __init__(self, places: FloatArray) -> None:
        self._places = places
        count = len(places)
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = _bending(places, places) + STIFFNESS * np.eye(count)
        system[:count, count:] = _flat(places)
        system[count:, :count] = _flat(places).T
        self._inverse = np.linalg.inv(system)[:, :count]  # (count + 3, count)

    def weights(self, places: FloatArray) -> FloatArray:
        """(n, count) weights of the control points for places (n, 2)."""
        return np.concatenate([_bending(places, self._places), _flat(places)], 1) @ self._inverse


def _bending(places: FloatArray, pins: FloatArray) -> FloatArray:
    square = ((places[:, None] - pins[None]) ** 2).sum(-1)
    return square * np.log(np.maximum(square, 1e-12))


def _flat(places: FloatArray) -> FloatArray:
    return np.concatenate([np.ones((len(places), 1)), places], 1)
