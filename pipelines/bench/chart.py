"""The benchmark's figures as people read them: text on a terminal, a picture on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH = 36
_BLOCKS = " ▏▎▍▌▋▊▉█"


def report(figures: Sequence[Mapping[str, Any]]) -> str:
    """Bars of speed, then where our own time went."""
    longest, most = max(len(one["name"]) for one in figures), max(one["fps"] for one in figures)
    lines = [
        f"{one['name']:{longest}}  {_bar(one['fps'] / most)} {one['fps']:7.1f} fps   "
        f"{one['faces_per_frame']:.2f} faces a frame, {one['cpu_ms']:.1f} ms of work each, {_megabytes(one)}, "
        f"{one['start_s']:.1f} s to start"
        for one in figures
    ]
    lines += ["", *(f"{one['name']:{longest}}  {one['versions']}: {one['measures']}" for one in figures)]
    for one in figures:
        if one["stages_ms"]:
            lines += ["", f"{one['name']}, ms a frame; stages work side by side:", *_stages(one)]
    return "\n".join(lines)


def plot(figures: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Bars of speed, and of our stages, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    staged = [one for one in figures if one["stages_ms"]]
    figure, (speeds, stages) = pyplot.subplots(
        1, 2, figsize=(11, 1.4 + 0.55 * max(len(figures), 6)), layout="constrained", width_ratios=(3, 2)
    )
    names, values = [one["name"] for one in figures], [one["fps"] for one in figures]
    colors = ["#2a6f97" if one["stages_ms"] else "#a9a9a9" for one in figures]
    bars = speeds.barh(names, values, color=colors, height=0.6)
    speeds.bar_label(bars, [f"{value:.0f}" for value in values], padding=4)
    speeds.set(xlabel="frames per second", title=title, xlim=(0, max(values) * 1.12))
    work = dict(staged[0]["stages_ms"])
    bars = stages.barh(list(work), list(work.values()), color="#61a5c2", height=0.6)
    stages.bar_label(bars, [f"{value:.2f}" for value in work.values()], padding=4)
    stages.set(xlabel="milliseconds a frame", title=f"{staged[0]['name']}: stages", xlim=(0, max(work.values()) * 1.18))
    for axes in (speeds, stages):
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _bar(share: float) -> str:
    whole, rest = divmod(round(share * _WIDTH * 8), 8)
    return ("█" * whole + _BLOCKS[rest].strip()).ljust(_WIDTH)


def _megabytes(one: Mapping[str, Any]) -> str:
    return "memory unknown" if one["peak_mb"] is None else f"{one['peak_mb']:.0f} MB"


def _stages(one: Mapping[str, Any]) -> list[str]:
    stages, total = one["stages_ms"], sum(one["stages_ms"].values())
    lines = [f"  {stage:12}{ms:7.2f}  {ms / total:4.0%}  {_bar(ms / total).rstrip()}" for stage, ms in stages.items()]
    return lines + [
        f"  queue of {queue} frames: its reader waited {waits['starved']:.2f}, its writer {waits['full']:.2f}"
        for queue, waits in one["waits_ms"].items()
    ]
