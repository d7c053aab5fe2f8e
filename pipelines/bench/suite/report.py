"""The figures of a suite as a table for a terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtrack.pipelines.bench.suite.measure import ENOUGH_FACES, ClipFigures, SuiteFigures


def format_suite(figures: SuiteFigures) -> str:
    """The table: a line for each clip, then means, the worst ratio, and what was left out; only that where all clips failed."""
    measured = figures.measured
    if not measured:
        return "\n".join(_left_out(figures))
    rows = [_heads(measured), *(_cells(one) for one in measured)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines += ["", *_means(figures), *_left_out(figures)]
    lines += [
        "",
        *(f"{program['name']}: {program['versions']}: {program['measures']}" for program in _programs(measured)),
    ]
    return "\n".join(lines)


def plot_suite(figures: SuiteFigures, path: Path) -> None:
    """Draw frames per second of each program, and the ratios, into an image file.

    Args:
        figures: Those of at least one clip.
        path: The image; its suffix chooses the format.
    """
    import matplotlib  # an extra, and slow to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    clips = figures.measured
    names = [one.clip.name for one in clips]
    programs = _programs(clips)
    ratios = [one.ratio for one in clips]
    compared = len(programs) > 2
    figure, panels = pyplot.subplots(
        1, 2 if compared else 1, figsize=(11, 1.6 + 0.5 * len(clips)), layout="constrained", sharey=True, squeeze=False
    )
    speeds = panels[0, 0]
    height = 0.8 / len(programs)
    colors = ["#2a6f97", *["#a9a9a9"] * compared, "#dddddd"]
    for number, program in enumerate(programs):
        values = [one.programs[number]["fps"] for one in clips]
        places = [place + (number - (len(programs) - 1) / 2) * height for place in range(len(clips))]
        bars = speeds.barh(places, values, height=height, color=colors[number], label=program["name"])
        speeds.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, fontsize=7)
    speeds.set(xscale="log", xlabel="frames per second", title=f"median of {_count(figures.rounds, 'round')}")
    speeds.set_yticks(range(len(clips)), names)
    figure.legend(frameon=False, loc="outside lower center", ncols=len(programs))
    speeds.invert_yaxis()
    if compared:
        shares = panels[0, 1]
        counts = [one.left_out is None for one in clips]
        bars = shares.barh(names, ratios, color=["#2a6f97" if one else "#c9d8e2" for one in counts], height=0.6)
        shares.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=4)
        shares.axvline(1, color="black", linewidth=0.8)
        title = f"ratio to {programs[1]['name']}"
        if figures.mean is not None:
            shares.axvline(figures.mean, color="#e08214", linewidth=1.2, linestyle="--")
            title += f"; geometric mean {figures.mean:.2f} (dashed)"
        shares.set(xlabel="pale: does not count, too few faces found", title=title)
        shares.margins(x=0.12)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _programs(clips: Sequence[ClipFigures]) -> Sequence[dict[str, object]]:
    return clips[0].programs


def _heads(clips: Sequence[ClipFigures]) -> list[str]:
    names = [str(program["name"]) for program in _programs(clips)]
    compared = ["ratio", "of CPU"] if len(names) > 2 else []
    return [
        "clip", "kind", "pixels", "frames", *(f"{name}, fps" for name in names), *compared,
        "faces a frame", "CPU ms a frame", "peak MB",
    ]  # fmt: skip


def _cells(one: ClipFigures) -> list[str]:
    compared = (
        [] if one.ratio is None else [f"{one.ratio:.2f}{' ' if one.left_out is None else '*'}", f"{one.cpu_ratio:.2f}"]
    )
    rivals = one.programs[:-1]
    return [
        one.clip.name,
        one.clip.kind,
        f"{one.size[0]}x{one.size[1]}",
        str(one.programs[0]["frames"]),
        *(f"{program['fps']:.1f}" for program in one.programs),
        *compared,
        " : ".join(f"{program['faces_per_frame']:.2f}" for program in rivals),
        " : ".join(f"{program['cpu_ms']:.1f}" for program in one.programs),
        " : ".join("?" if program["peak_mb"] is None else f"{program['peak_mb']:.0f}" for program in one.programs),
    ]


def _means(figures: SuiteFigures) -> list[str]:
    worst = figures.worst
    if figures.mean is None or figures.cpu_mean is None or worst is None:
        return []
    return [
        f"geometric mean of {len(figures.counted)} ratios {figures.mean:.2f} (of CPU time {figures.cpu_mean:.2f}), "
        f"worst {worst.ratio:.2f} ({worst.clip.name}); counted are clips with at least {ENOUGH_FACES:.0%} of our faces"
    ]


def _left_out(figures: SuiteFigures) -> list[str]:
    """A line for each clip that failed, or does not count in means."""
    return [
        f"left out: {one.clip.name} ({one.left_out})"
        for one in figures.clips
        if one.failure is not None or (one.ratio is not None and one.left_out is not None)
    ]
