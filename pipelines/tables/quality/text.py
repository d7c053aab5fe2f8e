"""A check of a table as text for the screen."""

from __future__ import annotations

import math

from vtrack.pipelines.tables.quality.check import TableCheck
from vtrack.pipelines.tables.terminal import aligned
from vtrack.pipelines.tables.text import clock, count

_MOST_FACES = 8


def check_text(check: TableCheck, name: str) -> str:
    """The figures of a check, for a terminal.

    Args:
        check: What `check_table` returns.
        name: Name of the table.
    """
    faces = sorted(check.faces.items(), key=lambda item: -item[1].frames)
    against = "without its video" if check.video is None else f"with {check.video}"
    blocks = [f"{name} {against}: {count(check.frames, 'frame')}, {count(len(faces), 'face')}"]
    if faces:
        errors = ", ".join(f"{label} {_number(check.errors[key])}" for label, key in _ERRORS)
        blocks[0] += f"\nestimated error in % of the distance between the outer eye corners: {errors}"
        rows = [["face", "from", "to", "frames", "error", "worst", "at"]]
        rows += [
            [
                str(number),
                clock(face.start),
                clock(face.end),
                str(face.frames),
                _number(face.error),
                _number(face.worst),
                "-" if math.isnan(face.worst) else clock(face.worst_start),
            ]
            for number, face in faces[:_MOST_FACES]
        ]
        more = f"\nand {len(faces) - _MOST_FACES} more" if len(faces) > _MOST_FACES else ""
        blocks.append(aligned(rows) + more)
    listed = count(check.stretches, "doubtful stretch", "es")
    if check.doubts:
        rows = [["from", "to", "face", "error", "why"]]
        rows += [
            [clock(doubt.start), clock(doubt.end), str(doubt.face), _number(doubt.error), "; ".join(doubt.texts)]
            for doubt in check.doubts
        ]
        shown = f", the {len(check.doubts)} worst" if check.stretches > len(check.doubts) else ", the worst first"
        blocks.append(f"{listed}{shown}\n{aligned(rows, left=(4,))}")
    elif faces:
        blocks.append(listed if check.stretches else "nothing doubtful")
    return "\n\n".join(blocks) + "\n"


_ERRORS = (("median", "median"), ("95 % below", "p95"), ("largest", "max"))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
