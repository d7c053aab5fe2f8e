"""Plots of a report: drawn once for the whole video as SVG, with their numbers for the script of the page that zooms them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.pipelines.tables.report.course import Course, FaceCourse
from vtrack.pipelines.tables.report.survey import COLUMNS
from vtrack.types import BoolArray, FloatArray

WIDTH, HEIGHT = 2000, 200
"""Units of a drawing; it is stretched to the page."""
_COLUMNS = 400
"""Columns of the drawing of the whole video."""
_MISSING = 65535
_LABEL = 24.0
"""Least distance of two labels in percent of the height of a plot."""


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A line of a plot."""

    column: str
    label: str
    """What stands beside it; empty where it is the only one."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of one thing over time, for each face."""

    name: str
    title: str
    unit: str
    lines: tuple[PlotLine, ...]
    low: float
    """Lower end of the scale."""
    high: float
    """Upper end; the scale goes farther where values do."""
    most: float
    """How far it goes at most."""
    symmetric: bool = False
    marks: str = ""
    """Column of what is marked at the foot of the plot."""
    digits: int = 2


PLOTS = (
    Plot("presence", "Confidence", "probability of a face", (PlotLine("presence", ""),), 0, 1, 1),
    Plot(
        "error", "Estimated error of points", "% of the eyes’ distance", (PlotLine("error", ""),), 0, 10, 40, digits=1
    ),
    Plot("sigma", "Uncertainty of points", "% of the face’s side", (PlotLine("sigma", ""),), 0, 3, 12),
    Plot(
        "eyes", "Eyes", "1 open, 0 shut", (PlotLine("left_openness", "left"), PlotLine("right_openness", "right")),
        0, 1.2, 2, marks="blink",
    ),
    Plot(
        "mouth", "Mouth", "eye distances", (PlotLine("mouth_open", "opening"), PlotLine("smile_width", "width")), 0, 1, 3
    ),
    Plot(
        "brows", "Brows", "eye distances",
        (PlotLine("left_brow_raise", "left"), PlotLine("right_brow_raise", "right")), 0, 0.3, 1,
    ),
    Plot(
        "pose", "Head pose", "degrees", (PlotLine("yaw", "yaw"), PlotLine("pitch", "pitch"), PlotLine("roll", "roll")),
        -30, 30, 180, symmetric=True, digits=0,
    ),
)  # fmt: skip
"""The plots of a face. Eye distances are those between the outer corners of the eyes."""
TONES = "abc"
"""Names of the colours of lines, in order."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of a plot."""

    low: float
    high: float
    step: float
    """Between two ticks."""

    @property
    def ticks(self) -> list[float]:
        """Values at which there are lines."""
        first = int(np.ceil(self.low / self.step - 1e-9))
        last = int(np.floor(self.high / self.step + 1e-9))
        return [self.step * i for i in range(first, last + 1)]

    def place(self, values: FloatArray) -> FloatArray:
        """Height of values in units of the drawing, from the top."""
        share = (np.clip(values, self.low, self.high) - self.low) / (self.high - self.low)
        height: FloatArray = HEIGHT * (1 - share)
        return height


def scale_of(plot: Plot, faces: Sequence[FaceCourse]) -> Scale:
    """The scale of a plot, the same for all faces."""
    low, high = plot.low, plot.high
    for face in faces:
        for line in plot.lines:
            least, most = face.range(COLUMNS.index(line.column))
            if np.isfinite(most).any():
                low, high = min(low, float(np.nanmin(least))), max(high, float(np.nanmax(most)))
    low, high = max(low, -plot.most), min(high, plot.most)
    if plot.symmetric:
        high = max(-low, high)
    step = _nice((high - (-high if plot.symmetric else low)) / 2.5)
    high = step * float(np.ceil(high / step - 1e-6)) if high > plot.high else high
    low = -high if plot.symmetric else step * float(np.floor(low / step + 1e-6)) if low < plot.low else low
    return Scale(low, high, step)


def has_values(plot: Plot, face: FaceCourse) -> bool:
    """Whether a face has any value of a plot."""
    return any(face.count[:, COLUMNS.index(line.column)].any() for line in plot.lines)


def line_paths(course: Course, face: FaceCourse, column: str, scale: Scale) -> tuple[str, str]:
    """The line of the mean, and the area between smallest and largest value, of the whole video as SVG paths."""
    place, edges = COLUMNS.index(column), course.edges
    known = np.flatnonzero(face.count[: course.used, place])
    if not len(known) or edges[-1] <= edges[0]:
        return "", ""
    low, high = (values[known] for values in face.range(place))
    middle = (edges[known] + edges[known + 1]) / 2
    x = (middle - edges[0]) / (edges[-1] - edges[0])
    cells = np.minimum((x * _COLUMNS).astype(np.intp), _COLUMNS - 1)
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    count, total = face.count[known, place], face.total[known, place]
    across = np.add.reduceat(x, starts) / np.diff(starts, append=len(known)) * WIDTH
    mean = scale.place(np.add.reduceat(total, starts) / np.add.reduceat(count, starts))
    top, bottom = scale.place(np.maximum.reduceat(high, starts)), scale.place(np.minimum.reduceat(low, starts))
    breaks = np.diff(known, prepend=known[0] - 1)[starts] > 1
    line, area = [], []
    for part in np.split(np.arange(len(starts)), np.flatnonzero(breaks)):
        if not len(part):
            continue
        line.append("M" + _points(across[part], mean[part]) + ("h1" if len(part) == 1 else ""))
        if (bottom[part] - top[part]).max() > 2:
            back = part[::-1]
            area.append("M" + _points(across[part], top[part]) + "L" + _points(across[back], bottom[back]) + "Z")
    return "".join(line), "".join(area)


def spans(course: Course, flags: BoolArray, least: float = 3.0) -> list[tuple[float, float]]:
    """Begin and length of runs of bins in units of the drawing, those closer than `least` joined, none shorter."""
    edges = course.edges
    length = edges[-1] - edges[0]
    if length <= 0:
        return []
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], flags[: course.used], [False]]).astype(np.int8)))
    found: list[list[float]] = []
    for first, last in (WIDTH * (edges[bounds] - edges[0]) / length).reshape(-1, 2).tolist():
        if found and first - found[-1][1] < least:
            found[-1][1] = last
        else:
            found.append([first, last])
    return [(first, max(last - first, least)) for first, last in found]


def span_rects(found: Sequence[tuple[float, float]], kind: str, top: float = 0, height: float = HEIGHT) -> str:
    """Runs as one SVG path."""
    path = "".join(f"M{first:.0f} {top:g}h{width:.0f}v{height:g}h-{width:.0f}z" for first, width in found)
    return f'<path class="{kind}" d="{path}"/>'


def flags_of(face: FaceCourse, column: str) -> BoolArray:
    """(bins,) whether a column is above 0 anywhere in a bin."""
    place = COLUMNS.index(column)
    flags: BoolArray = (face.count[:, place] > 0) & (face.high[:, place] > 0)
    return flags


def present(face: FaceCourse) -> BoolArray:
    """(bins,) whether the face is in any frame of a bin."""
    flags: BoolArray = face.count[:, COLUMNS.index("doubt")] > 0
    return flags


def label_places(plot: Plot, face: FaceCourse, scale: Scale) -> list[float]:
    """Height of the label of each line in percent from the top, at its last value, none over another."""
    heights = []
    for line in plot.lines:
        mean = face.mean(COLUMNS.index(line.column))
        last = mean[np.isfinite(mean)][-1:]
        heights.append(float(scale.place(last)[0]) / HEIGHT * 100 if len(last) else 50.0)
    return apart(heights)


def apart(heights: Sequence[float]) -> list[float]:
    """Heights in percent, moved until no two are nearer than a label is high."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + _LABEL)
    over = max((placed[order[-1]] if order else 0.0) - 96.0, 0.0)
    limit = 96.0
    for i in reversed(order):
        placed[i] = min(placed[i], limit) if over else placed[i]
        limit = placed[i] - _LABEL
    return placed


def numbers(course: Course, faces: Sequence[FaceCourse], plots: Sequence[Plot]) -> dict[str, Any]:
    """The numbers of plots for the script of the page."""
    columns = [*dict.fromkeys(line.column for plot in plots for line in plot.lines), "blink", "doubt"]
    return {
        "edges": base64.b64encode(course.edges.astype("<f8").tobytes()).decode(),
        "faces": [_face_numbers(course, face, columns) for face in faces],
    }


def _face_numbers(course: Course, face: FaceCourse, columns: Sequence[str]) -> dict[str, Any]:
    """The values of a face, from its first bin to its last."""
    there = np.flatnonzero(present(face)[: course.used])
    first, last = int(there[0]), int(there[-1]) + 1
    series = {}
    for column in columns:
        place = COLUMNS.index(column)
        mean, (low, high) = face.mean(place)[first:last], face.range(place)
        low, high = low[first:last], high[first:last]
        if not np.isfinite(mean).any():
            continue
        least, most = float(np.nanmin(low)), float(np.nanmax(high))
        rows = [mean] if np.array_equal(low, high, equal_nan=True) else [mean, low, high]
        series[column] = [round(least, 6), round(most, 6), *(_packed(row, least, most) for row in rows)]
    return {"id": face.number, "first": first, "series": series}


def _packed(values: FloatArray, low: float, high: float) -> str:
    """Values as 16-bit numbers between two ends, in base 64."""
    share = (np.clip(values, low, high) - low) / max(high - low, 1e-12) * (_MISSING - 1)
    whole: npt.NDArray[np.uint16] = np.where(np.isfinite(values), np.rint(np.nan_to_num(share)), _MISSING).astype("<u2")
    return base64.b64encode(whole.tobytes()).decode()


def _points(x: FloatArray, y: FloatArray) -> str:
    return "L".join(f"{a:.0f} {b:.0f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _nice(step: float) -> float:
    """The next larger of 1, 2, 5, 10, …"""
    unit = 10.0 ** np.floor(np.log10(step))
    return float(next(unit * factor for factor in (1, 2, 2.5, 5, 10) if step <= unit * factor * (1 + 1e-9)))


def plot_html(
    plot: Plot, course: Course, face: FaceCourse, scale: Scale, description: str, limit: float | None = None
) -> str:
    """A plot of a face for the whole video; beyond `limit` the face is doubtful."""
    doubtful = span_rects(spans(course, flags_of(face, "doubt")), "doubt")
    grid = "".join(f"M0 {float(scale.place(np.array(tick))):.0f}H{WIDTH}" for tick in scale.ticks)
    shapes = []
    for tone, line in zip(TONES, plot.lines, strict=False):
        mean, area = line_paths(course, face, line.column, scale)
        name = escape(line.column)
        shapes.append(
            f'<path class="area {tone}" data-column="{name}" d="{area}"/>'
            f'<path class="line {tone}" data-column="{name}" d="{mean}"/>'
        )
    marks = span_rects(spans(course, flags_of(face, plot.marks)), "marks", HEIGHT - 14, 14) if plot.marks else ""
    ticks = "".join(
        f'<span style="top:{float(scale.place(np.array(tick))) / HEIGHT * 100:.1f}%">{_tick(tick)}</span>'
        for tick in scale.ticks
    )
    places = label_places(plot, face, scale)
    labels = "".join(
        f'<span class="{tone}" data-column="{escape(line.column)}" style="top:{place:.1f}%">{escape(line.label)}</span>'
        for tone, line, place in zip(TONES, plot.lines, places, strict=False)
        if line.label
    )
    limits = ""
    if limit is not None and scale.low < limit < scale.high:
        height = float(scale.place(np.array(limit)))
        limits = f'<path class="limit" d="M0 {height:.0f}H{WIDTH}"/>'
        labels += f'<span class="limit" style="top:{height / HEIGHT * 100:.1f}%">doubtful</span>'
    return f"""<figure class="plot" data-plot="{plot.name}" data-low="{scale.low:g}" data-high="{scale.high:g}">
<figcaption><b>{escape(plot.title)}</b> <small>{escape(plot.unit)}</small> <output></output></figcaption>
<div class="row"><div class="ticks" aria-hidden="true">{ticks}</div>
<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(description)}">
{doubtful}<path class="grid" d="{grid}"/>{limits}{"".join(shapes)}{marks}<path class="cursor" d=""/></svg>
<div class="labels" aria-hidden="true">{labels}</div></div>
</figure>
"""


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")
