"""Files that are made of tables: the checks before they are written."""

from __future__ import annotations

from pathlib import Path

from vtrack.errors import SinkError, UsageError
from vtrack.pipelines.outputs.base import check_outputs
from vtrack.pipelines.outputs.files import remove_stale
from vtrack.pipelines.outputs.stdout import STDOUT


def check_target(path: Path, table: str | Path, *, overwrite: bool = False) -> None:
    """Check before any work that a file can be written, and remove what killed processes have left beside it.

    Args:
        path: The file; `STDOUT` for stdout.
        table: The table that is read.
        overwrite: Whether a file that exists may be replaced.

    Raises:
        UsageError: The file exists, is the table itself, or its folder cannot be written.
    """
    try:
        check_outputs([path], source=table, overwrite=overwrite)
    except SinkError as error:
        raise UsageError(str(error)) from error
    if path != STDOUT:
        remove_stale(path.parent)
