"""The section of a report with the plots and figures of each face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from vtrack.pipelines.tables.doubts import ABSENT, OFF, VAGUE
from vtrack.pipelines.tables.report.course import FaceCourse
from vtrack.pipelines.tables.report.page import fact_list, table_html
from vtrack.pipelines.tables.report.plots import PLOTS, Plot, Scale, has_values, plot_html, present
from vtrack.pipelines.tables.report.sections import SHOWN, image, moment
from vtrack.pipelines.tables.report.stills import Still
from vtrack.pipelines.tables.report.survey import COLUMNS, Survey
from vtrack.pipelines.tables.text import number, percent, safe, whole

_OPEN = 3
"""Faces whose plots are not folded."""
_ROWS = 24
"""Rows of the table of a face."""
_BAR = """<div class="bar" id="bar" hidden>
<div class="controls" role="group" aria-label="Time shown in the plots">
<output id="range" aria-live="polite"></output>
<button type="button" data-do="in" aria-label="Zoom in" title="Zoom in (+)">+</button>
<button type="button" data-do="out" aria-label="Zoom out" title="Zoom out (−)">−</button>
<button type="button" data-do="left" aria-label="Earlier" title="Earlier (←)">←</button>
<button type="button" data-do="right" aria-label="Later" title="Later (→)">→</button>
<button type="button" data-do="all" aria-label="Show all" title="Show all (0)">All</button>
<span class="hint">drag over a plot, Ctrl + wheel, or keys + − ← → 0</span>
</div>
<div class="axis" aria-hidden="true"><div></div><div class="times"></div><div></div></div>
</div>"""


def faces_section(
    survey: Survey, scales: Mapping[str, Scale], stills: Mapping[str, Still], least: Mapping[int, float]
) -> str:
    """Plots and figures of each face."""
    faces = survey.course.faces[:SHOWN]
    if survey.photographs or not faces:
        return ""
    parts = ['<section id="plots" aria-labelledby="h-faces"><h2 id="h-faces">Faces</h2>', _BAR]
    for rank, face in enumerate(faces):
        parts.append(_face(survey, face, rank, scales, stills, least))
    if survey.measured_here:
        parts.append(
            '<p class="note">The table has no measures: eyes, mouth, brows and head pose are measured here, on curves through '
            "its smoothed points. They differ a little from those of a run with <code>--measures</code>.</p>"
        )
    elif survey.lacking:
        parts.append(
            f'<p class="note">Eyes, mouth, brows and head pose are not plotted: the table has too few points of '
            f"{safe(', '.join(survey.lacking))}. A run with <code>--measures</code> has them for any points.</p>"
        )
    elif "eyes" not in scales:
        parts.append(
            '<p class="note">Eyes, mouth, brows and head pose are not plotted: the table has no measures. '
            "A run with <code>--measures</code> has them.</p>"
        )
    return "\n".join([*parts, "</section>"])


def _face(
    survey: Survey,
    face: FaceCourse,
    rank: int,
    scales: Mapping[str, Scale],
    stills: Mapping[str, Still],
    least: Mapping[int, float],
) -> str:
    name = f"Face {face.number}"
    pictures = image(
        stills, f"portrait-{face.number}", f"{name}, seen best, at {moment(survey, survey.portraits[face.number].time)}"
    )
    if pictures:
        pictures = f"<figure>{pictures}<figcaption>seen best</figcaption></figure>"
    if unsure := image(
        stills, f"least-{face.number}", f"{name}, least certain, at {moment(survey, least.get(face.number, 0.0))}"
    ):
        pictures += (
            f"<figure>{unsure}<figcaption>least certain, {moment(survey, least[face.number])}</figcaption></figure>"
        )
    limits = {
        "presence": survey.worst.presence - ABSENT,
        "sigma": 100 * VAGUE * survey.worst.sigma,
        "error": OFF,
    }
    shown = [plot for plot in PLOTS if plot.name in scales and has_values(plot, face)]
    plots = [
        plot_html(plot, survey.course, face, scales[plot.name], _description(plot, face), limits.get(plot.name))
        for plot in shown
    ]
    blinks = survey.blinks.get(face.number)
    facts = [
        ("seen", f"{moment(survey, face.start)} to {moment(survey, face.end)}", ""),
        ("frames", whole(face.frames), ""),
        ("doubtful", percent(_doubtful_share(face)), ""),
    ]
    if blinks is not None:
        facts.append(("blinks", str(blinks), ""))
    opened = " open" if rank < _OPEN else ""
    return f"""<details class="face" id="face-{face.number}" data-face="{face.number}"{opened}>
<summary><h3>{name}</h3></summary>
<div class="who"><div class="portraits">{pictures}</div>{fact_list(facts)}</div>
{"".join(plots)}<div class="axis static" aria-hidden="true"><div></div><div class="times"></div><div></div></div>
<details class="figures"><summary>Figures of face {face.number} as a table</summary>
{_figures(survey, face, shown)}
</details>
</details>"""


def _doubtful_share(face: FaceCourse) -> float:
    column = COLUMNS.index("doubt")
    return float(face.total[:, column].sum() / max(face.count[:, column].sum(), 1))


def _description(plot: Plot, face: FaceCourse) -> str:
    """A plot in words."""
    texts = []
    for line in plot.lines:
        place = COLUMNS.index(line.column)
        known = face.count[:, place]
        if known.any():
            mean = face.total[:, place].sum() / known.sum()
            low, high = face.range(place)
            values = (number(float(value), plot.digits) for value in (mean, np.nanmin(low), np.nanmax(high)))
            texts.append("{}mean {}, from {} to {}".format(f"{line.label} " if line.label else "", *values))
    return f"{plot.title} of face {face.number} over time, {plot.unit}: {'; '.join(texts)}"


def _figures(survey: Survey, face: FaceCourse, plots: Sequence[Plot]) -> str:
    """The means of stretches of time as a table."""
    course, edges = survey.course, survey.course.edges
    there = np.flatnonzero(present(face)[: course.used])
    bounds = np.unique(
        np.linspace(there[0], there[-1] + 1, min(_ROWS, int(there[-1] - there[0]) + 1) + 1).astype(np.intp)
    )
    rows = []
    for first, last in pairwise(bounds):
        cells = [moment(survey, edges[first]), moment(survey, edges[last])]
        for plot in plots:
            for line in plot.lines:
                place = COLUMNS.index(line.column)
                known = face.count[first:last, place].sum()
                mean = face.total[first:last, place].sum() / known if known else np.nan
                cells.append(number(float(mean), max(plot.digits, 1)))
        doubtful = face.count[first:last, COLUMNS.index("doubt")].sum()
        share = face.total[first:last, COLUMNS.index("doubt")].sum() / doubtful if doubtful else np.nan
        rows.append([*cells, percent(float(share)) if doubtful else "–"])
    names = [
        f"{plot.title}{f', {line.label}' if line.label else ''} <small>{plot.unit}</small>"
        for plot in plots
        for line in plot.lines
    ]
    return table_html(f"Means of face {face.number}", ["from", "to", *names, "doubtful"], rows, heads=2)
