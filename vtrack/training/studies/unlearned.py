"""Points that a network has not learned: whether it knows their part, and how far it is off on each kind of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vtrack.layouts import Layout, points_of
from vtrack.models.decoding.interpolation import NEAR, TaughtPositions
from vtrack.types import FloatArray

MARKED, BETWEEN, OTHER = "marked positions", "positions between", "other parts"
"""Points at a position that the learned layouts mark, between such positions of a part that they mark, and on other parts."""

Mask = npt.NDArray[np.bool_]


def kinds(layout: Layout, taught: TaughtPositions) -> dict[str, Mask]:
    """(points,) bool for each kind: which points of a layout are of it, for a network that was taught these positions."""
    gaps = np.array([taught.gap(part, position) for part, position in points_of(layout.query)])
    return {MARKED: gaps <= NEAR, BETWEEN: (gaps > NEAR) & np.isfinite(gaps), OTHER: np.isinf(gaps)}


def cells_of(errors: FloatArray, queried: FloatArray, masks: Mapping[str, Mask]) -> dict[str, str]:
    """The cells of a line of the cross-template table.

    Args:
        errors: (seeds, faces, points) errors in %, points between taught ones by curves.
        queried: The same with each point queried by itself, as in the paper.
        masks: The kinds of points.
    """
    cells = {"all": _cell(errors, np.ones(errors.shape[-1], bool))}
    cells["learned parts (*)"] = _cell(errors, ~masks[OTHER])
    cells[MARKED], cells[BETWEEN] = _cell(errors, masks[MARKED]), _cell(errors, masks[BETWEEN])
    cells[f"{BETWEEN}, queried"] = _cell(queried, masks[BETWEEN])
    cells[OTHER] = _cell(errors, masks[OTHER])
    return cells


def _cell(errors: FloatArray, mask: Mask) -> str:
    """The mean error and, in brackets, the number of points; empty where there are none."""
    return f"{np.nanmean(errors[..., mask]):.2f} ({mask.sum()})" if mask.any() else ""
