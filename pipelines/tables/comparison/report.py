"""A comparison as text for the screen."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from vtrack.pipelines.outputs.files import write_text
from vtrack.pipelines.tables.comparison.compare import TableComparison, dominant_pairs
from vtrack.pipelines.tables.terminal import aligned

_MOST_PAIRS = 8
_MOST_STRETCHES = 12
_MOST_EXPRESSIONS = 8


def comparison_text(comparison: TableComparison) -> str:
    """The figures of a comparison as text of some tables, for a terminal 100 characters wide.

    Args:
        comparison: What `compare_tables` returns.
    """
    figures = comparison.figures
    blocks = [
        _head(figures),
        _ids(figures),
        _distances(figures),
        _agreement(figures),
        _values(figures),
        _blinks(figures),
        _over_time(figures),
        _worst(figures),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def save_comparison(comparison: TableComparison, path: Path, *, overwrite: bool = False) -> None:
    """Write all figures of a comparison as JSON.

    Args:
        comparison: What `compare_tables` returns.
        path: File to write.
        overwrite: Whether a file that exists is replaced.

    Raises:
        SinkError: It cannot be written.
    """
    write_text(path, comparison.to_json(), overwrite=overwrite)


def _head(figures: dict[str, Any]) -> str:
    lines = [
        f"{letter}  {Path(figures[name]['path']).name}: {figures[name]['frames']} frames, {figures[name]['faces']} faces in "
        f"them, {figures[name]['ids']} ids, {figures[name]['points']} points"
        for letter, name in (("A", "first"), ("B", "second"))
    ]
    frames, faces, points = figures["frames"], figures["faces"], figures["points"]
    shift = figures["shift"]
    if "estimate" in shift:
        lines.append(
            f"B lags by {shift['frames']} frames, as estimated ({shift['estimate']:.2f}; correlation of the motion "
            f"{shift['correlation']:.3f}, without the shift {_number(shift['unshifted'])})"
        )
    elif shift["frames"]:
        lines.append(f"B is taken to lag by {shift['frames']} frames")
    lines += [
        f"frames: {frames['both']} in both, {frames['only_first']} only in A, {frames['only_second']} only in B",
        f"faces in these: {faces['matched']} in both, {faces['only_first']} only in A, {faces['only_second']} only in B",
        f"points compared: {points['compared']}"
        + (f", {points['by_curve']} of them on curves" if points["by_curve"] else ""),
    ]
    for letter, name in (("A", "only_first"), ("B", "only_second")):
        if points[name]:
            listed = ", ".join(f"{part} ({count})" for part, count in points[name].items())
            lines.append(f"not compared, only in {letter}: {listed}")
    return "\n".join(lines)


def _ids(figures: dict[str, Any]) -> str:
    pairs = list(dominant_pairs(figures))
    shown = [f"{pair['first']} = {pair['second']} ({pair['frames']} frames)" for pair in pairs[:_MOST_PAIRS]]
    more = [f"and {len(pairs) - _MOST_PAIRS} more"] * (len(pairs) > _MOST_PAIRS)
    ids = figures["ids"]
    return (
        f"ids of A = ids of B: {', '.join([*shown, *more]) or 'none'}\n"
        f"id switches: {ids['switches_first']} in A, {ids['switches_second']} in B"
    )


def _distances(figures: dict[str, Any]) -> str:
    if not figures["faces"]["matched"]:
        return ""
    unit = figures["unit"]
    name = "the distance between the outer eye corners" if unit["name"] == "eyes" else "the side of the face box"
    rows = [["", "points", "mean", "median", "95 %", "max", "mean", "median", "95 %", "max", "jitter A", "B"]]
    for part, of_part in figures["distances"].items():
        count = figures["points"]["parts"].get(part, figures["points"]["compared"])
        cells = [of_part[kind][each] for kind in ("pixels", "percent") for each in ("mean", "median", "p95", "max")]
        cells += of_part["jitter"]["percent"]
        rows.append([part, str(count), *map(_number, cells)])
    title = f"distance in pixels, then, like jitter, in % of {name} (mean {unit['mean_px']:.1f} px)"
    return f"{title}\n{aligned(rows)}"


def _agreement(figures: dict[str, Any]) -> str:
    if not figures["faces"]["matched"]:
        return ""
    rows = [["", "x: bias", "limits", "y: bias", "limits", "% x: bias", "limits", "% y: bias", "limits"]]
    for part, of_part in figures["distances"].items():
        row = [part]
        for kind, axis in itertools.product(("pixels", "percent"), (0, 1)):
            low, high = of_part[kind]["limits"][axis]
            row += [_signed(of_part[kind]["bias"][axis]), f"{_signed(low)} {_signed(high)}"]
        rows.append(row)
    return f"A minus B: bias, and limits of agreement (bias ± 1.96 standard deviations), in pixels and in %\n{aligned(rows)}"


def _values(figures: dict[str, Any]) -> str:
    """Measures and pose; of expressions, which are many, those that differ most."""
    groups = {name: rows for name, rows in figures["values"].items() if name != "blinks"}
    known = {group: {name: each for name, each in rows.items() if each["count"]} for group, rows in groups.items()}
    if not any(known.values()):
        return ""
    rows = [["", "rows", "mean A", "mean B", "A - B", "limits", "distance", "r", "ICC"]]
    for group, of_group in known.items():
        chosen = (
            sorted(of_group, key=lambda name: -of_group[name]["distance"]) if group == "expressions" else [*of_group]
        )
        for name in chosen[: _MOST_EXPRESSIONS if group == "expressions" else None]:
            each = of_group[name]
            low, high = each["limits"]
            cells = [
                _fine(each["first"]),
                _fine(each["second"]),
                _fine(each["bias"], "+"),
                f"{_fine(low, '+')} {_fine(high, '+')}",
            ]
            rows.append([name, str(each["count"]), *cells, *(_fine(each[key]) for key in ("distance", "r", "icc"))])
    title = "measures and pose: means, bias with limits of agreement, mean absolute difference, Pearson's r, ICC(2,1)"
    more = len(known.get("expressions", ())) - _MOST_EXPRESSIONS
    note = f"\nexpressions: the {_MOST_EXPRESSIONS} that differ most; all are in --json" if more > 0 else ""
    return f"{title}\n{aligned(rows)}{note}"


def _blinks(figures: dict[str, Any]) -> str:
    blinks = figures["values"].get("blinks")
    if not blinks:
        return ""
    both, first, second = (blinks[f"frames_of_{name}"] for name in ("both", "first", "second"))
    return (
        f"blinks: {blinks['first']} in A, {blinks['second']} in B; frames in a blink: {both} in both, {first} only in A, "
        f"{second} only in B (kappa {_number(blinks['kappa'])})"
    )


def _over_time(figures: dict[str, Any]) -> str:
    stretches = figures["over_time"]
    if not stretches:
        return ""
    rows = [["seconds", "faces", "only A", "only B", "mean", "median", "95 %", "max", "mean %", "95 %", "max"]]
    step = -(-len(stretches) // _MOST_STRETCHES)
    for each in stretches[::step]:
        cells = [each["pixels"][name] for name in ("mean", "median", "p95", "max")]
        cells += [each["percent"][name] for name in ("mean", "p95", "max")]
        counts = [str(each[name]) for name in ("matched", "only_first", "only_second")]
        rows.append([f"{each['start_s']:g}-{each['end_s']:g}", *counts, *map(_number, cells)])
    title = "over time" if step == 1 else f"over time, one row of {step} (all are in --json)"
    return f"{title}\n{aligned(rows)}"


def _worst(figures: dict[str, Any]) -> str:
    if not figures["worst"]:
        return ""
    rows = [["frame", "seconds", "A", "B", "mean px", "mean %", "farthest part"]]
    for each in figures["worst"]:
        place = each.get("file") or str(each["frame"])
        cells = [place, f"{each['time_s']:.3f}", str(each["first"]), str(each["second"])]
        rows.append([*cells, _number(each["pixels"]), _number(each["percent"]), each["part"]])
    return f"worst frames, of a face at most one of each second\n{aligned(rows)}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}" if value < 1000 else f"{value:.0f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}"


def _fine(value: float, sign: str = "") -> str:
    """A number with three decimals, as measures need that are shares."""
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"
