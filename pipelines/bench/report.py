"""Benchmark results as text for a terminal and as a bar chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH = 36
"""Characters of the longest bar."""
_BLOCKS = " ▏▎▍▌▋▊▉█"


def format_report(results: Sequence[Mapping[str, Any]]) -> str:
    """Format results as text: bars of speed, then the time of each stage of vtrack.

    Args:
        results: `ProgramResult.as_json()` of each program.
    """
    width, fastest = max(len(result["name"]) for result in results), max(result["fps"] for result in results)
    lines = [
        f"{result['name']:{width}}  {_bar(result['fps'] / fastest)} {result['fps']:7.1f} fps   "
        f"{result['faces_per_frame']:.2f} faces a frame, {result['cpu_ms']:.1f} ms of CPU a frame, "
        f"{_peak(result)}, {result['start_s']:.1f} s to start"
        for result in results
    ]
    lines += ["", *(f"{result['name']:{width}}  {result['versions']}: {result['measures']}" for result in results)]
    for result in results:
        if result["stages_ms"]:
            lines += ["", f"{result['name']}, ms a frame; stages run in parallel:", *_stages(result)]
    return "\n".join(lines)


def plot_report(results: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw bars of speed, and of the stages of vtrack, into an image file.

    Args:
        results: `ProgramResult.as_json()` of each program; at least one has stages.
        title: Title of the chart.
        path: The image; its suffix chooses the format.
    """
    import matplotlib  # an extra, and slow to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    staged = [result for result in results if result["stages_ms"]]
    figure, (speeds, stages) = pyplot.subplots(
        1, 2, figsize=(11, 1.4 + 0.55 * max(len(results), 6)), layout="constrained", width_ratios=(3, 2)
    )
    names, values = [result["name"] for result in results], [result["fps"] for result in results]
    colors = ["#2a6f97" if result["stages_ms"] else "#a9a9a9" for result in results]
    bars = speeds.barh(names, values, color=colors, height=0.6)
    speeds.bar_label(bars, [f"{value:.0f}" for value in values], padding=4)
    speeds.set(xlabel="frames per second", title=title, xlim=(0, max(values) * 1.12))
    times = dict(staged[0]["stages_ms"])
    bars = stages.barh(list(times), list(times.values()), color="#61a5c2", height=0.6)
    stages.bar_label(bars, [f"{value:.2f}" for value in times.values()], padding=4)
    title = f"{staged[0]['name']}: stages"
    stages.set(xlabel="milliseconds a frame", title=title, xlim=(0, max(times.values()) * 1.18))
    for axes in (speeds, stages):
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _bar(share: float) -> str:
    whole, rest = divmod(round(share * _WIDTH * 8), 8)
    return ("█" * whole + _BLOCKS[rest].strip()).ljust(_WIDTH)


def _peak(result: Mapping[str, Any]) -> str:
    return "memory unknown" if result["peak_mb"] is None else f"{result['peak_mb']:.0f} MB"


def _stages(result: Mapping[str, Any]) -> list[str]:
    stages, total = result["stages_ms"], sum(result["stages_ms"].values())
    lines = [f"  {stage:12}{ms:7.2f}  {ms / total:4.0%}  {_bar(ms / total).rstrip()}" for stage, ms in stages.items()]
    return lines + [
        f"  queue of {queue} frames: its reader waited {waits['starved']:.2f}, its writer {waits['full']:.2f}"
        for queue, waits in result["waits_ms"].items()
    ]
