"""The sections of a report about one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings, plain
from vtrack.pipelines.tables.doubts import REASONS, Doubt
from vtrack.pipelines.tables.report.course import Course
from vtrack.pipelines.tables.report.page import fact_list, table_html
from vtrack.pipelines.tables.report.plots import (
    WIDTH,
    flags_of,
    present,
    span_rects,
    spans,
)
from vtrack.pipelines.tables.report.stills import Still
from vtrack.pipelines.tables.report.survey import Survey
from vtrack.pipelines.tables.text import clock, count, duration, number, percent, safe, setting, whole

SHOWN = 8
"""Faces with plots of their own."""
_LANE = 24
"""Height of a lane of the timeline in units of its drawing."""


def image(stills: Mapping[str, Still], name: str, text: str, kind: str = "") -> str:
    """A picture with its text for those who do not see it; nothing if there is none."""
    still = stills.get(name)
    if still is None:
        return ""
    size = f'width="{still.width}" height="{still.height}"'
    return f'<img class="{kind}" src="{still.address}" {size} alt="{text}">'


def moment(survey: Survey, time: float, file: str = "") -> str:
    """When something is: a time, the number of a frame, or the name of a photograph."""
    if file:
        return safe(file)
    return clock(time) if survey.timed else f"frame {time:.0f}"


def summary_section(survey: Survey, meta: Mapping[str, Any]) -> str:
    """The figures of the whole video."""
    course, counts = survey.course, meta.get("counts", {})
    frames = "photograph" if survey.photographs else "frame"
    seconds = course.length
    facts = []
    if survey.timed and not survey.photographs:
        facts.append(("Length", duration(seconds), count(course.frames, "frame")))
    else:
        facts.append((f"{frames.capitalize()}s", whole(course.frames), ""))
    share = survey.frames_with_faces / max(course.frames, 1)
    facts.append(("With a face", percent(share), f"of {frames}s"))
    facts.append(
        (
            "Faces",
            whole(len(course.tracks)),
            "in all" if survey.photographs else "track" if len(course.tracks) == 1 else "tracks",
        )
    )
    doubtful = survey.doubtful / max(survey.rows, 1)
    note = count(survey.stretches, *(("face",) if survey.photographs else ("stretch", "es")))
    facts.append(("Doubtful", percent(doubtful), note))
    if survey.error is not None:
        facts.append(("Estimated error", f"{number(survey.error, 1)} %", "mean, of the eyes’ distance"))
    if survey.blinks and not survey.photographs:
        facts.append(("Blinks", whole(sum(survey.blinks.values())), _per_minute(survey)))
    if isinstance(spent := counts.get("seconds"), int | float) and spent > 0 and course.frames:
        rate = seconds / spent
        real = f"{rate:.1f} × real time" if survey.timed and not survey.photographs and course.frames > 1 else ""
        facts.append(("Speed", f"{course.frames / spent:.1f} {frames}s/s", real))
    return f'<section aria-label="Summary">{fact_list(facts)}</section>'


def _per_minute(survey: Survey) -> str:
    step = survey.course.length / max(survey.course.frames, 1)
    seen = sum(face.frames for face in survey.course.faces if face.number in survey.blinks) * step
    return f"{60 * sum(survey.blinks.values()) / seen:.1f} a minute and face" if seen > 10 else ""


def doubts_section(survey: Survey, stills: Mapping[str, Still], note: str) -> str:
    """What is doubtful, with pictures."""
    parts = ['<section aria-labelledby="h-doubts"><h2 id="h-doubts">Where not to trust it</h2>']
    if not survey.rows:
        parts.append("<p>There is no face in this table.</p>")
    elif not survey.doubts:
        parts.append(
            "<p>Nothing in the table is doubtful: no face is uncertain, hardly there, cut off, small, far turned, or jumps.</p>"
        )
    else:
        seconds = survey.timed and not survey.photographs
        what = "faces" if survey.photographs else "seconds of faces" if seconds else "frames of faces"
        reasons = "; ".join(
            f"{REASONS[name]}: <b>{duration(amount) if seconds else whole(amount)}</b>"
            for name, amount in survey.seconds.items()
            if amount > 0
        )
        shown = f", the {len(survey.doubts)} worst here" if survey.stretches > len(survey.doubts) else ""
        parts.append(f"<p>By reason, in {what}{shown}: {reasons}.</p>")
        parts.append('<ol class="doubts">')
        parts += [_doubt(survey, doubt, rank, stills) for rank, doubt in enumerate(survey.doubts)]
        parts.append("</ol>")
    if note:
        parts.append(f'<p class="note">{note}</p>')
    return "\n".join([*parts, "</section>"])


def _doubt(survey: Survey, doubt: Doubt, rank: int, stills: Mapping[str, Still]) -> str:
    reasons = ", ".join(doubt.texts)
    when = moment(survey, doubt.start, doubt.file)
    length = ""
    if survey.timed and not survey.photographs:
        length = f"{duration(doubt.end - doubt.start)}, worst at {clock(doubt.time, 2)}"
    elif not survey.photographs:
        length = f"{count(round(doubt.end - doubt.start) + 1, 'frame')}, worst at frame {doubt.time:.0f}"
    picture = image(stills, f"doubt-{rank}", f"Face {doubt.face} with its points, {when}: {reasons}")
    again = ""
    if not survey.photographs:
        span = f'data-face="{doubt.face}" data-from="{doubt.start:.3f}" data-to="{doubt.end:.3f}"'
        label = f"Show {when}, face {doubt.face}, in the plots"
        again = f'<button type="button" class="show" {span} aria-label="{label}">Show</button>'
    return (
        f"<li>{picture}<div><b>{when}</b> <span>face {doubt.face}</span><p>{reasons}</p>"
        f"<small>{length}</small>{again}</div></li>"
    )


def timeline_section(survey: Survey, stills: Mapping[str, Still], thumbnails: Sequence[tuple[str, float, str]]) -> str:
    """Thumbnails, and a lane for each face."""
    course, title = survey.course, "Photographs" if survey.photographs else "Timeline"
    parts = [f'<section aria-labelledby="h-time"><h2 id="h-time">{title}</h2>']
    pictures = [
        f"<li>{image(stills, name, f'Picture at {moment(survey, time, file)}')}<small>{moment(survey, time, file)}</small></li>"
        for name, time, file in thumbnails
        if name in stills
    ]
    if survey.photographs:
        if pictures:
            parts.append(f'<ol class="thumbnails loose">{"".join(pictures)}</ol>')
        return "\n".join([*parts, "</section>"]) if pictures else ""
    parts.append('<div class="overview" id="overview">')
    if pictures:
        parts.append(f'<ol class="thumbnails">{"".join(pictures)}</ol>')
    cuts = span_rects(spans(course, course.cut), "cut", 0, _LANE)
    shown = course.faces[:SHOWN]
    for face in sorted(shown, key=lambda face: face.start):
        flags = present(face)
        lane = span_rects(spans(course, flags), "there", 5, _LANE - 10)
        lane += span_rects(spans(course, flags_of(face, "doubt")), "doubt", 0, _LANE)
        when = f"seen from {moment(survey, face.start)} to {moment(survey, face.end)}"
        parts.append(
            _lane(f'<a href="#face-{face.number}">face {face.number}</a>', cuts + lane, f"Face {face.number}, {when}")
        )
    if len(course.tracks) > 1:
        mean = course.mean_faces()
        most = max(float(mean.max()), 1.0) if len(mean) else 1.0
        parts.append(_lane("all faces", cuts + _steps(course, mean / most), f"Number of faces, at most {most:.3g}"))
    if len(course.tracks) > len(shown):
        parts.append(
            f'<p class="note">{count(len(course.tracks) - len(shown), "more face")}, seen for a shorter time.</p>'
        )
    parts.append('<div class="window" hidden></div></div>')
    if shown:
        parts.append(_legend(survey))
    return "\n".join([*parts, "</section>"])


def _legend(survey: Survey) -> str:
    cuts = '<span><i class="cut"></i>a scene begins</span>' if survey.course.cut[1:].any() else ""
    return (
        f'<p class="legend"><span><i class="there"></i>seen</span><span><i class="doubt"></i>doubtful</span>{cuts}</p>'
    )


def _lane(label: str, shapes: str, description: str) -> str:
    return (
        f'<div class="lane"><span>{label}</span><svg viewBox="0 0 {WIDTH} {_LANE}" preserveAspectRatio="none" role="img" '
        f'aria-label="{description}">{shapes}</svg></div>'
    )


def _steps(course: Course, shares: np.ndarray) -> str:
    """A number over time as an area."""
    edges = course.edges
    x = np.rint(WIDTH * (edges - edges[0]) / max(edges[-1] - edges[0], 1e-9)).astype(int)
    y = np.rint(_LANE * (1 - shares) * 10) / 10
    changes = np.flatnonzero(np.diff(y, prepend=np.nan) != 0)
    path = "".join(f"H{x[i]}V{y[i]:g}" for i in changes.tolist())
    return f'<path class="there" d="M0 {_LANE}{path}H{WIDTH}V{_LANE}Z"/>'


def run_section(meta: Mapping[str, Any]) -> str:
    """Settings, model and speed of the run."""
    parts = ['<section aria-labelledby="h-run"><h2 id="h-run">The run</h2>']
    if not meta:
        parts.append(
            "<p>There is no .meta.json beside the table, which would tell model, settings and speed of its run.</p>"
        )
        return "\n".join([*parts, "</section>"])
    source, model, counts = (meta.get(name, {}) for name in ("source", "model", "counts"))
    facts = [("vtrack", safe(meta.get("vtrack", "–"))), ("model", safe(model.get("name", "–")))]
    facts += [
        (name, safe(setting(model[key]))) for name, key in (("system", "system"), ("engine", "engine")) if key in model
    ]
    if "guessed_parts" in model:
        facts.append(("parts that are guessed", safe(setting(model["guessed_parts"]))))
    if "width" in source:
        rate = source.get("average_rate")
        told = f", {rate:.5g} frames per second" if isinstance(rate, int | float) else ""
        facts.append(("picture", safe(f"{source['width']} × {source.get('height')} pixels{told}")))
    for name, text in (("damaged", "damaged parts skipped"), ("absurd", "points out of bounds replaced")):
        if counts.get(name):
            facts.append((text, safe(counts[name])))
    if counts.get("warnings"):
        facts.append(("warnings", safe(counts["warnings"])))
    table = table_html("", ["fact", "value"], facts, kind="names")
    columns = [f"<div><h3>Program and picture</h3>{table}</div>", _speed(counts), _settings(meta.get("options", {}))]
    return "\n".join([*parts, '<div class="columns">', *columns, "</div></section>"])


def _speed(counts: Mapping[str, Any]) -> str:
    """Seconds of work of each stage."""
    spent, stages = counts.get("seconds"), counts.get("stages")
    if not isinstance(spent, int | float):
        return ""
    text = f"<div><h3>Speed</h3><p>It took <b>{duration(spent)}</b>."
    works = stages.items() if isinstance(stages, dict) else ()
    seconds = {name: value for name, value in works if isinstance(value, int | float)}
    if not seconds:
        return f"{text}</p></div>"
    most = max(*seconds.values(), 1e-9)
    rows = [
        [safe(name), f"{value:.2f} s", f'<span class="meter" style="width:{100 * value / most:.1f}%"></span>']
        for name, value in seconds.items()
    ]
    table = table_html("Seconds of work of each stage", ["stage", "work", ""], rows)
    return f"{text} Stages work side by side, so their times add up to more.</p>{table}</div>"


def _settings(options: Mapping[str, Any]) -> str:
    """All settings of the run; those that are not defaults first."""
    if not options:
        return ""
    defaults = plain(Settings(), InputSettings(), OutputSettings())
    known = {each.name for kind in (Settings, InputSettings, OutputSettings) for each in fields(kind)}
    changed = {name: value for name, value in options.items() if name not in known or value != defaults[name]}
    same = {name: value for name, value in options.items() if name not in changed}
    parts = ["<div><h3>Settings</h3>"]
    if changed:
        parts.append(_setting_table("Other than by default", changed))
    if same:
        parts.append(f"<details><summary>Settings as by default</summary>{_setting_table('', same)}</details>")
    return "\n".join([*parts, "</div>"])


def _setting_table(caption: str, values: Mapping[str, Any]) -> str:
    rows = [[f"<code>{safe(name)}</code>", safe(setting(value))] for name, value in values.items()]
    return table_html(caption, ["setting", "value"], rows, kind="names")
