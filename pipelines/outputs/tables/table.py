"""A table in memory: what was tracked, as arrays, pandas or xarray."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from vtrack.errors import MissingExtraError, NameNotAskedError, spelled
from vtrack.measures import EXPRESSION_NAMES, POSE_NAMES
from vtrack.parts import GROUPS, check_part_name, nearest, not_asked
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.tables.columns import ADDED, BOX, EXTRAS, MEASURED, RAW, Columns, Field
from vtrack.types import FloatArray, FrameResult, Query

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_OF_POINTS = {
    "points": ("x", "y"),
    "sigma": ("sigma",),
    "raw": ("raw_x", "raw_y"),
    "raw_sigma": ("raw_sigma",),
    "inside": ("inside",),
    "hidden": ("hidden",),
    "points3d": ("x3d", "y3d", "z3d"),
    "points3d_sd": ("x3d_sd", "y3d_sd", "z3d_sd"),
}
"""What there is of each point, and the endings of its columns."""
_PANDAS_KINDS = {"int": "Int64", "bool": "boolean", "float": "float64"}


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Tracked faces of a whole video: one row for each face in each frame, and one for each frame without a face.

    Made by `Results.table` and by `read_table`. Rows are in order of time, the faces of a frame by their id.

    Examples:
        >>> import vtrack
        >>> table = vtrack.track("samples/sample.mp4", parts="eyes", stop=0.2).table()
        >>> table
        Table(6 rows, 6 frames, 1 face, 16 points)
        >>> table.to_numpy().shape  # frames, faces, points, (x, y)
        (6, 1, 16, 2)
        >>> table["left_eye"].shape  # rows, points, (x, y)
        (6, 8, 2)
        >>> table.column("presence").shape
        (6,)
    """

    names: tuple[str, ...]
    """Name of each point, `<part>_<i>`."""
    fields: tuple[Field, ...]
    """The columns of `cells`: those of the wide CSV table after `frame` and `time_s`."""
    frame: npt.NDArray[np.int64]
    """(rows,) number of the decoded frame, from 0."""
    time: FloatArray
    """(rows,) seconds."""
    cells: FloatArray
    """(rows, columns) NaN where a cell is empty."""
    query: Query | None = None
    """What the points are; None for a file beside which no `.meta.json` tells."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The facts of `<table>.meta.json`: version, options, model, source and counts. Empty where there are none."""

    file: tuple[str, ...] = ()
    """(rows,) name of the image file of each row; empty where frames are not image files."""

    @classmethod
    def of(cls, results: Iterable[FrameResult], query: Query, columns: Collection[str] = ()) -> Table:
        """The table of results with the points of `query` and these groups of extra columns."""
        wide = Columns(query, columns)
        frame: list[int] = []
        time: list[float] = []
        file: list[str] = []
        rows: list[FloatArray] = []
        for result in results:
            for row in wide.rows(result):
                frame.append(result.index)
                time.append(result.time)
                file.append(result.frame.file)
                rows.append(np.array(row))
        cells = np.array(rows).reshape(len(rows), len(wide.fields))
        files = tuple(file) if any(file) else ()
        frames, times = np.array(frame, np.int64), np.array(time, np.float64)
        return cls(query.names, wide.fields, frames, times, cells, query, file=files)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        counts = {"row": len(self), "frame": len(self.frames), "face": len(self.faces), "point": len(self.names)}
        return f"Table({', '.join(f'{count} {what}' + 's' * (count != 1) for what, count in counts.items())})"

    @property
    def parts(self) -> tuple[str, ...]:
        """The part of each point."""
        return self.query.parts if self.query is not None else tuple(name.rpartition("_")[0] for name in self.names)

    @property
    def face(self) -> npt.NDArray[np.int64]:
        """(rows,) id of the face; -1 in the row of a frame without one."""
        return np.nan_to_num(self.column("face"), nan=-1).astype(np.int64)

    @property
    def points(self) -> FloatArray:
        """(rows, points, 2) x, y in pixels."""
        return self._rows("points")

    @property
    def sigma(self) -> FloatArray:
        """(rows, points) standard deviation of each coordinate in pixels."""
        return self._rows("sigma")

    @property
    def frames(self) -> npt.NDArray[np.int64]:
        """(frames,) the numbers of the frames, each once."""
        return np.unique(self.frame)

    @property
    def times(self) -> FloatArray:
        """(frames,) seconds of the `frames`."""
        return self.time[np.unique(self.frame, return_index=True)[1]]

    @property
    def files(self) -> tuple[str, ...]:
        """(frames,) names of the image files of the `frames`; empty where frames are not image files."""
        return tuple(self.file[row] for row in np.unique(self.frame, return_index=True)[1]) if self.file else ()

    @property
    def faces(self) -> npt.NDArray[np.int64]:
        """(faces,) the ids of all faces, each once."""
        return np.unique(self.face[self.face >= 0])

    def column(self, name: str) -> FloatArray:
        """One column of the wide table as numbers, NaN where it is empty.

        Args:
            name: `presence`, `box_x`, `left_eye_0_x`, `blink`, ...: see `fields`.

        Returns:
            (rows,) the values.

        Raises:
            NameNotAskedError: The table has no such column.
        """
        if name not in self._places:
            for group, names in (("measures", MEASURES), ("pose", POSE_NAMES), ("expressions", EXPRESSION_NAMES)):
                if name in names:
                    raise NameNotAskedError(f"this table has no {name!r}; track with {spelled(group, True)}")
            hint = nearest(name, (*_OF_POINTS, "box", *self._places), see="Table.fields lists the columns")
            raise NameNotAskedError(f"this table has no {name!r}; {hint}")
        return self.cells[:, self._places[name]]

    def __getitem__(self, part: str) -> FloatArray:
        """(rows, n, 2) points of a part, or of those parts of a group that the table has."""
        check_part_name(part, "table")
        wanted = GROUPS.get(part, (part, f'"{part}"'))
        places = [i for i, name in enumerate(self.parts) if name in wanted]
        if not places:
            raise not_asked(part, self.parts)
        return self.points[:, places]

    def __contains__(self, part: object) -> bool:
        """Whether the table has points of a part or group."""
        return any(name in GROUPS.get(str(part), (part, f'"{part}"')) for name in self.parts)

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "a table is neither a list of frames nor of rows; see Table.to_pandas, or iterate over the results"
        )

    def to_numpy(self, what: str = "points") -> FloatArray:
        """One thing of all faces in all frames, NaN where a face is not there.

        Ids are never reused, so a long video of many passers-by makes a large and mostly empty array.

        Args:
            what: `points`, `sigma`, `presence`, `box`, `measured`, or what else the table has: `raw`, `raw_sigma`, `inside`,
                `hidden`, `points3d`, `points3d_sd`, and each measure, number of the pose and expression by its name (`blink`,
                `pose_Tz`, `jawOpen`).

        Returns:
            (frames, faces, ...), in the order of `frames` and `faces`: then (points, 2) for `points` and `raw`, (points, 3)
            for `points3d` and `points3d_sd`, (points,) for `sigma`, `raw_sigma`, `inside` and `hidden`, (4,) x, y, w, h for
            `box`, and nothing for the rest.

        Raises:
            NameNotAskedError: The table has no such thing.

        Examples:
            >>> import vtrack
            >>> table = vtrack.track("samples/sample.mp4", parts="pupils", stop=0.2).table()
            >>> table.to_numpy("sigma").shape
            (6, 1, 2)
        """
        rows = self._rows(what)
        there = self.face >= 0
        shape = (len(self.frames), len(self.faces), *rows.shape[1:])
        dense = np.full(shape, np.nan)
        dense[np.searchsorted(self.frames, self.frame[there]), np.searchsorted(self.faces, self.face[there])] = rows[
            there
        ]
        return dense

    def to_pandas(self, *, long: bool = False) -> pd.DataFrame:
        """The table as a pandas DataFrame.

        Args:
            long: One row for each point, as the long CSV table; else one for each face, as the wide one.

        Returns:
            A DataFrame with the columns of the CSV table. Counts and flags that may be empty are nullable (`Int64`,
            `boolean`).

        Raises:
            MissingExtraError: pandas is not installed.

        Examples:
            >>> import vtrack
            >>> table = vtrack.track("samples/sample.mp4", parts="pupils", stop=0.2).table()
            >>> list(table.to_pandas().columns[:4])
            ['frame', 'time_s', 'face', 'presence']
            >>> table.to_pandas(long=True).groupby("part")["sigma"].count()["left_pupil"]
            np.int64(6)
        """
        # An extra; whoever does not ask for it needs no pandas.
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError('to_pandas needs pandas; pip install "vtrack[pandas]"') from error

        def series(column: Field, values: FloatArray) -> pd.Series:
            numbers = pd.Series(values, name=column.name)
            return numbers if column.kind == "float" else numbers.astype("Float64").astype(_PANDAS_KINDS[column.kind])

        head: dict[str, Any] = {"frame": self.frame, "time_s": self.time}
        if self.file:
            head["file"] = np.array(self.file, object)
        if not long:
            columns = [series(column, values) for column, values in zip(self.fields, self.cells.T, strict=True)]
            return pd.concat([pd.DataFrame(head), *columns], axis=1)
        # A frame without a face keeps its one row.
        added = [query for query in ADDED if f"{query.names[0]}_{RAW[0].name}" in self._places]
        names = [*self.names, *(name for query in added for name in query.names)]
        times = np.where(self.face >= 0, max(len(names), 1), 1)
        row = np.repeat(np.arange(len(self)), times)
        point = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
        empty = self.face[row] < 0
        data: dict[str, Any] = {name: values[row] for name, values in head.items()}
        endings = [ending for what, some in _OF_POINTS.items() if self._has(what) for ending in some]
        of_points = {f"{name}_{ending}" for name in names for ending in endings}
        for column, values in zip(self.fields, self.cells.T, strict=True):
            if column.name not in of_points:
                data[column.name] = series(column, values[row])
        parts = [*self.parts, *(part for query in added for part in query.parts)]
        positions = [*(self.query.positions if self.query else [np.nan] * len(self.names))]
        positions += [position for query in added for position in query.positions]
        labels = {
            "part": np.array(parts, object),
            "position": np.array(positions),
            "point": np.array(names, object),
        }
        for name, label in labels.items():
            data[name] = pd.Series(np.where(empty, None if label.dtype == object else np.nan, label[point]))
        cells = np.column_stack([self.cells, np.full(len(self), np.nan)])
        for ending in endings:
            places = np.array([self._places.get(f"{name}_{ending}", -1) for name in names], np.intp)
            kind: Literal["bool", "float"] = "bool" if ending == "inside" else "float"
            data[ending] = series(Field(ending, kind), cells[row, places[point]])
        return pd.DataFrame(data)

    def to_xarray(self) -> xr.Dataset:
        """The table as an xarray Dataset with named dimensions.

        Returns:
            A Dataset with `points` (time, face, point, space), `sigma` (time, face, point), `presence` (time, face), `box`
            (time, face, side), and `measured`, `raw`, `raw_sigma`, `inside`, `hidden`, measures, pose, expressions, `points3d`
            and `points3d_sd` (time, face, point, axis) where the table has them; NaN where a face is not there. Coordinates are
            `time` in seconds, `frame` along it, the ids along `face`, and names, `part` and `position` along `point`. Where
            frames are image files, `file` stands in the place of the dimension `time`.

        Raises:
            MissingExtraError: xarray is not installed.

        Examples:
            >>> import vtrack
            >>> data = vtrack.track("samples/sample.mp4", parts="eyes", stop=0.2).table().to_xarray()
            >>> dict(data.points.sizes)
            {'time': 6, 'face': 1, 'point': 16, 'space': 2}
            >>> data.points.sel(face=0, point="left_eye_0", space="x").shape
            (6,)
        """
        # An extra; whoever does not ask for it needs no xarray.
        try:
            import xarray as xr
        except ImportError as error:
            raise MissingExtraError('to_xarray needs xarray; pip install "vtrack[xarray]"') from error

        along = "file" if self.file else "time"
        base = (along, "face")
        dimensions = {
            "points": ("point", "space"),
            "raw": ("point", "space"),
            "sigma": ("point",),
            "raw_sigma": ("point",),
            "inside": ("point",),
            "hidden": ("point",),
            "points3d": ("point", "axis"),
            "points3d_sd": ("point", "axis"),
        }
        things = (*_OF_POINTS, "presence", MEASURED.name, "box", *MEASURES, *POSE_NAMES, *EXPRESSION_NAMES)
        wanted = [what for what in things if self._has(what)]
        more = {**dimensions, "box": ("side",)}
        positions = self.query.positions if self.query else (np.nan,) * len(self.names)
        data = xr.Dataset(
            {what: ((*base, *more.get(what, ())), self.to_numpy(what)) for what in wanted},
            coords={
                **({"file": list(self.files)} if self.file else {}),
                "time": (along, self.times, {"units": "s"}),
                "frame": (along, self.frames),
                "face": self.faces,
                "point": list(self.names),
                "part": ("point", list(self.parts)),
                "position": ("point", list(positions)),
                "space": ["x", "y"],
                **({"axis": ["x", "y", "z"]} if self._has("points3d") else {}),
                "side": ["x", "y", "w", "h"],
            },
        )
        for what in ("points", "raw", "sigma", "raw_sigma", "box"):
            if what in data:
                data[what].attrs["units"] = "pixels"
        return data

    @cached_property
    def _places(self) -> dict[str, int]:
        """The place of each column in `cells`."""
        return {column.name: i for i, column in enumerate(self.fields)}

    def _columns_of(self, what: str) -> list[str]:
        """The columns of one thing, which the table may lack."""
        if what in _OF_POINTS:
            return [f"{name}_{ending}" for name in self.names for ending in _OF_POINTS[what]]
        return [side.name for side in BOX] if what == "box" else [what]

    def _has(self, what: str) -> bool:
        return set(self._columns_of(what)) <= self._places.keys()

    def _rows(self, what: str) -> FloatArray:
        """(rows, ...) one thing in all rows, see `to_numpy`."""
        group = {"raw_sigma": "raw", "points3d_sd": "points3d"}.get(what, what)
        if group in EXTRAS and what in _OF_POINTS and not self._has(what):
            raise NameNotAskedError(f"this table has no {what!r}; ask for it by {spelled('columns', group)}")
        columns = [self.column(name) for name in self._columns_of(what)]
        if what not in (*_OF_POINTS, "box"):
            return columns[0]
        cells = np.array(columns).reshape(len(columns), len(self)).T
        if what == "box":
            return cells
        several = len(_OF_POINTS[what])
        return cells.reshape(len(self), len(self.names), *([several] * (several > 1)))
