"""`Results`: what `track` returns, frame by frame or as one table."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vtrack.errors import UsageError
from vtrack.pipelines.outputs.tables.table import Table
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.sources.base import Source, SourceInfo
from vtrack.types import FloatArray, FrameResult, Query

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Results(Iterator[FrameResult]):
    """The tracked frames of one source, found while they are read.

    Iterate over it for one `FrameResult` after the other, each frame once and in order, in little memory; or ask for all of
    them as a table. A `with` statement closes the source if the results are not read to their end.

    Examples:
        >>> import vtrack
        >>> for result in vtrack.track("samples/sample.mp4", parts="eyes", stop=0.1):
        ...     print(result.index, [face.id for face in result.faces])
        0 [0]
        1 [0]
        2 [0]
        >>> results = vtrack.track("samples/sample.mp4", parts="eyes", stop=0.2)
        >>> results.info.size
        (640, 480)
        >>> results.to_numpy().shape  # frames, faces, points, (x, y)
        (6, 1, 16, 2)
    """

    def __init__(self, settings: Settings, source: Source | None, results: Generator[FrameResult]) -> None:
        self._settings, self._source, self._results = settings, source, results
        self._begun = False
        self._table: Table | None = None

    @property
    def query(self) -> Query:
        """What the points of the faces are."""
        return self._settings.query

    @property
    def info(self) -> SourceInfo | None:
        """Facts about the source: size, rate, duration. None for a camera."""
        return None if self._source is None else self._source.info

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FrameResult:
        self._begun = True
        return next(self._results)

    def table(self, columns: Collection[str] = ()) -> Table:
        """Track all frames and keep them as a table in memory, without their images.

        Args:
            columns: Groups of extra columns as on the command line: `raw` (points before smoothing), `inside` (whether they
                lie in the frame), `hidden` (how likely something hides them). Measures and pose are there if they were asked
                for. The first call decides.

        Returns:
            The table; further calls return the same one.

        Raises:
            UsageError: Some frames were read already, or there is no such group.

        Examples:
            >>> import vtrack
            >>> vtrack.track("samples/sample.mp4", parts="eyes", stop=0.2).table(columns=["raw"])
            Table(6 rows, 6 frames, 1 face, 16 points)
        """
        if self._table is None:
            if self._begun:
                raise UsageError("some of these results were read already; call track again for a table of all frames")
            wanted = {*columns, *self._settings.measured_groups}
            self._table = Table.of(self, self.query, wanted)
        return self._table

    def to_numpy(self, what: str = "points") -> FloatArray:
        """Track all frames and return one thing as an array (frames, faces, ...); see `Table.to_numpy`.

        Args:
            what: `points`, `sigma`, `presence`, `box`, `measured`, or a measure or number of the pose if asked for.

        Returns:
            For `points` (frames, faces, points, 2) x, y in pixels; NaN where a face is not there.

        Examples:
            >>> import vtrack
            >>> results = vtrack.track("samples/sample.mp4", parts="lips:20", stop=0.2, measures=True)
            >>> results.to_numpy().shape, results.to_numpy("mouth_open").shape
            ((6, 1, 20, 2), (6, 1))
        """
        return self.table().to_numpy(what)

    def to_pandas(self, *, long: bool = False) -> pd.DataFrame:
        """Track all frames and return them as a pandas DataFrame; see `Table.to_pandas`.

        Args:
            long: One row for each point instead of one for each face.

        Raises:
            MissingExtraError: pandas is not installed.

        Examples:
            >>> import vtrack
            >>> results = vtrack.track("samples/sample.mp4", parts="pupils", stop=0.2)
            >>> results.to_pandas().shape
            (6, 15)
        """
        return self.table().to_pandas(long=long)

    def to_xarray(self) -> xr.Dataset:
        """Track all frames and return them as an xarray Dataset; see `Table.to_xarray`.

        Raises:
            MissingExtraError: xarray is not installed.

        Examples:
            >>> import vtrack
            >>> data = vtrack.track("samples/sample.mp4", parts="pupils", stop=0.2).to_xarray()
            >>> dict(data.sigma.sizes)
            {'time': 6, 'face': 1, 'point': 2}
        """
        return self.table().to_xarray()

    def close(self) -> None:
        """Stop tracking and close the source; done at the end of the frames as well."""
        self._begun = True
        self._results.close()
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        source = "a camera" if self._source is None else self._source.info.name
        return f"Results({source}, {len(self.query)} points)"
