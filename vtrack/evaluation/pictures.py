"""Draws an evaluation: sheets of faces with their points, and the cumulative error curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vtrack.errors import MissingExtraError, SinkError
from vtrack.evaluation import metrics
from vtrack.evaluation.landmarks import LandmarkEvaluation
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.types import FloatArray, ImageArray

_TILE, _TITLE, _GAP, _COLUMNS = 320, 26, 6, 6
# Drawing is done in fixed point, in eighths of a pixel.
_SCALE = 8

_BACK, _INK, _MUTED = (250, 250, 250), (35, 35, 40), (120, 120, 128)
_TRUE, _PREDICTED, _LINK = (60, 190, 90), (235, 64, 52), (255, 190, 60)


def sheet(evaluation: LandmarkEvaluation, kind: str, count: int = 30) -> ImageArray:
    """(H, W, 3) faces with true points in green and predicted ones in red: the worst first, then a fair sample."""
    errors = evaluation.errors(kind).mean(1)
    order = np.argsort(-np.nan_to_num(errors, nan=-1.0))[: int(evaluation.found.sum())]
    worst = order[: (count + 1) // 2]
    rest = order[len(worst) :]
    sample = rest[np.unique(np.linspace(0, len(rest) - 1, count - len(worst)).astype(int))] if len(rest) else rest
    chosen = np.concatenate([worst, sample])
    tiles = [_tile(evaluation, int(place), float(errors[place])) for place in chosen]
    return _grid(tiles)


def _tile(evaluation: LandmarkEvaluation, place: int, error: float) -> ImageArray:
    """One face, cut out around all of its points, under a line that says which and how wrong."""
    true, predicted = evaluation.data.points[place], evaluation.points[place]
    both = np.concatenate([true, predicted])
    low, high = both.min(0), both.max(0)
    crops = Crops.around(np.concatenate([low, high - low])[None], 1.25)
    image = np.ascontiguousarray(warp([evaluation.data.image(place)], [0], crops, _TILE)[0].transpose(1, 2, 0))
    ends = [_fixed(crops.to_pixels(points[None], _TILE)[0]) for points in (true, predicted)]
    for start, end in zip(*ends, strict=True):
        cv2.line(image, start, end, _LINK, 1, cv2.LINE_AA, 3)
    radius = 9 if len(true) > 100 else 13
    for points, colour in zip(ends, (_TRUE, _PREDICTED), strict=True):
        for point in points:
            cv2.circle(image, point, radius, colour, -1, cv2.LINE_AA, 3)
    title = np.full((_TITLE, _TILE, 3), _BACK, np.uint8)
    name = Path(evaluation.data.files[place]).name
    _write(title, f"{error * 100:.2f} %", (4, 18), _INK)
    _write(title, name if len(name) <= 30 else f"...{name[-27:]}", (80, 18), _MUTED)
    return np.concatenate([title, image])


def _fixed(points: FloatArray) -> list[tuple[int, int]]:
    """Pixels in OpenCV's fixed point (eighths), so that points are drawn where they are."""
    fixed = np.round(points * _SCALE).astype(int)
    return [(int(x), int(y)) for x, y in fixed]


def _grid(tiles: Sequence[ImageArray]) -> ImageArray:
    """Tiles in rows."""
    columns = min(_COLUMNS, max(len(tiles), 1))
    rows = -(-len(tiles) // columns)
    height, width = _TILE + _TITLE + _GAP, _TILE + _GAP
    page = np.full((rows * height + _GAP, columns * width + _GAP, 3), _BACK, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * height + _GAP, (i % columns) * width + _GAP
        page[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return page


def _write(image: ImageArray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(
        image, text.encode("ascii", "replace").decode(), at, cv2.FONT_HERSHEY_SIMPLEX, 0.46, colour, 1, cv2.LINE_AA
    )


def save_curves(
    evaluations: Sequence[LandmarkEvaluation], kinds: Sequence[str], path: Path, limit: float = 0.10
) -> None:
    """Plot the cumulative error curve of each evaluation to a PNG, SVG or PDF."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtraError("plots need the plots extra: pip install 'vtrack[plots]'") from error
    figure, axes = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
    for evaluation, kind in zip(evaluations, kinds, strict=True):
        errors = evaluation.errors(kind).mean(1)
        at, share = metrics.cumulative(errors, limit)
        label = f"{evaluation.data.name} ({np.nanmean(errors) * 100:.2f} %, {kind.replace('_', '-')})"
        axes.plot(at * 100, share * 100, linewidth=2, label=label)
    axes.set(xlim=(0, limit * 100), ylim=(0, 100), xlabel="normalised mean error, %", ylabel="faces, %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise SinkError(f"{path}: the plot cannot be written: {error}") from error
    finally:
        plt.close(figure)
