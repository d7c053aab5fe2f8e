"""Tables read back as results, frame by frame: what the pipeline made, without pictures and models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vtrack.anchors import ANCHORS
from vtrack.errors import TableError
from vtrack.imaging.planes import Blank
from vtrack.measures import EXPRESSION_NAMES, POSE_NAMES, Expressions, HeadPose, Measures, Points3d
from vtrack.parts import PARTS
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.tables.columns import BOX, CUT, HEAD, HIDDEN, POINTS3D, RAW, measured_points
from vtrack.pipelines.outputs.tables.read import TableBlocks, open_blocks
from vtrack.types import Face, FloatArray, Frame, FrameResult, Query


class _TableRow(NamedTuple):
    """One row of a table."""

    frame: int
    time: float
    file: str
    cut: bool
    face: Face | None


class TableResults(Iterator[FrameResult]):
    """The results that a table holds, read while they are asked for, each frame once and in order.

    Frames are black pictures that take no memory, of the size that the facts beside the table tell. Times are those of the
    table to the last bit. Points that the table has no `raw`, `sigma` or `presence` of have NaN there.
    With the columns `raw` faces that were seen have `Face.unsmoothed`, and frames `Frame.cut`.

    Args:
        path: The table, as `read_table` takes it.
        fps: Frames per second of a table without times.
        parts: What the points are, if the facts beside the table do not tell.
        untimed: Whether a table without times is taken without `fps`, too; the times of its frames are their numbers then.
        size: Width and height of the frames in pixels, if the facts beside the table do not tell.

    Raises:
        TableError: The file cannot be read, is damaged or is not a table; also while it is read.
        UsageError: The table has times and needs no `fps`, or has other points than `parts`.

    Example:
        for result in TableResults("eyes.csv"):
            print(result.time, [face.id for face in result.faces])
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        parts: str = "",
        untimed: bool = False,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.table: TableBlocks = open_blocks(path, fps=fps, parts=parts, untimed=untimed, size=size)
        self.query = self.table.query or _likely_query(self.table.names)
        """What the points are. Where nothing tells, positions are even along each part."""
        self.unsmoothed_query = sum(measured_points(self.table.groups), self.query) + ANCHORS
        """The points of `Face.unsmoothed`, where the table has the columns `raw`."""
        self.size = _size(self.source) or size
        """Width and height of the frames in pixels; None if nothing tells."""
        width, height = self.size or (1, 1)
        self._pixels = Blank((height, width, 3))
        self._results = self._frames()

    @property
    def source(self) -> Mapping[str, Any]:
        """What the facts beside the table say of its video; empty where they say nothing."""
        source: Mapping[str, Any] = self.table.meta.get("source", {})
        return source

    @property
    def photographs(self) -> bool:
        """Whether each frame is a photograph, by the facts."""
        return bool(self.source.get("photographs"))

    def __next__(self) -> FrameResult:
        return next(self._results)

    def _frames(self) -> Iterator[FrameResult]:
        """Yield the frames."""
        last = -1
        for (index, file), rows in groupby(self._rows(), key=lambda row: (row.frame, row.file)):
            group = list(rows)
            faces = tuple(row.face for row in group if row.face is not None)
            if index <= last:
                raise TableError(
                    f"{self.table.path}: frame {index} after frame {last}; it reads tables of one video, in order"
                )
            if len({face.id for face in faces}) != len(faces):
                raise TableError(f"{self.table.path}: frame {index} has the same face twice")
            ticks, per_second = group[0].time.as_integer_ratio()
            frame = Frame(self._pixels, index, ticks, Fraction(1, per_second), cut=group[0].cut, file=file)
            yield FrameResult(frame, faces, self.query)
            last = index

    def _rows(self) -> Iterator[_TableRow]:
        """Yield the rows."""
        places, groups = {field.name: i for i, field in enumerate(self.table.fields, len(HEAD))}, self.table.groups
        names, raw_endings = self.query.names, [field.name for field in RAW]

        def of_points(cells: FloatArray, names: Sequence[str], *endings: str) -> FloatArray:
            columns = [places[f"{name}_{ending}"] for name in names for ending in endings]
            return cells[:, columns].reshape(len(cells), len(names), len(endings))

        for cells, files in self.table.blocks:
            points, sigma = of_points(cells, names, "x", "y"), of_points(cells, names, "sigma")[..., 0]
            unsmoothed = of_points(cells, self.unsmoothed_query.names, *raw_endings) if "raw" in groups else None
            raw = np.full(points.shape, np.nan) if unsmoothed is None else unsmoothed[:, : len(names), :2]
            cut = cells[:, places[CUT.name]] == 1 if CUT.name in places else np.zeros(len(cells), bool)
            boxes, presence = cells[:, [places[side.name] for side in BOX]], cells[:, places["presence"]]
            measured = cells[:, places["measured"]] != 0 if "measured" in places else np.ones(len(cells), bool)
            measures = cells[:, [places[name] for name in MEASURES]] if "measures" in groups else None
            poses = cells[:, [places[name] for name in POSE_NAMES]] if "pose" in groups else None
            endings = [field.name for field in POINTS3D]
            points3d = of_points(cells, names, *endings) if "points3d" in groups else None
            hidden = of_points(cells, names, HIDDEN.name)[..., 0] if "hidden" in groups else None
            shown = cells[:, [places[name] for name in EXPRESSION_NAMES]] if "expressions" in groups else None
            ids = cells[:, places["face"]]
            for i, (frame, time) in enumerate(cells[:, :2].tolist()):
                face = None
                if not np.isnan(ids[i]):
                    face = Face(
                        id=int(ids[i]),
                        box=boxes[i],
                        presence=float(presence[i]),
                        points=points[i],
                        sigma=sigma[i],
                        raw=raw[i],
                        query=self.query,
                        measured=bool(measured[i]),
                        measures=Measures.none() if measures is None else Measures(MEASURES, measures[i]),
                        unsmoothed=unsmoothed[i] if unsmoothed is not None and measured[i] else None,
                        pose=None if poses is None else HeadPose(poses[i]),
                        points3d=None if points3d is None else Points3d(points3d[i]),
                        hidden=None if hidden is None else hidden[i],
                        expressions=None if shown is None else Expressions(shown[i]),
                    )
                yield _TableRow(int(frame), time, files[i] if files else "", bool(cut[i]), face)


def _likely_query(names: tuple[str, ...]) -> Query:
    """Points with positions that are even along each part; a name that is no part's is a part of one point."""
    parts = [stem if (stem := name.rpartition("_")[0]) in PARTS else name for name in names]
    positions = {part: iter(PARTS[part].positions(parts.count(part))) for part in set(parts) & set(PARTS)}
    return Query(tuple(parts), tuple(next(positions[part]) if part in positions else 0.0 for part in parts), names)


def _size(source: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size of the frames, by what is known of their video."""
    width, height = source.get("width"), source.get("height")
    if isinstance(width, int) and isinstance(height, int) and 0 < width < 2**20 and 0 < height < 2**20:
        return width, height
    return None
