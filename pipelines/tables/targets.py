"""Files that are made of tables: where they go, and the checks before they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vtrack.errors import SinkError, UsageError, spelled
from vtrack.options import nearest_of, words
from vtrack.pipelines.outputs.base import check_outputs
from vtrack.pipelines.outputs.files import remove_stale
from vtrack.pipelines.outputs.paths import given_path
from vtrack.pipelines.outputs.stdout import STDOUT
from vtrack.pipelines.registry import CSV_FORMATS, INTERCHANGE, OUTPUTS, OutputEntry, output_entry
from vtrack.pipelines.settings import OutputSettings

_CSV = "csv"
"""The output that has forms."""


class TableTarget(NamedTuple):
    """A table that is to be written."""

    kind: str
    """Name in `OUTPUTS` or `INTERCHANGE`."""
    format: str
    """Name in `table_formats`."""
    path: Path
    """The file; `STDOUT` for stdout."""


def table_formats(*, columns: bool = False) -> tuple[str, ...]:
    """What a table can be written as: the forms of the CSV table, the other kinds of tables, and files for other programs.

    Args:
        columns: Only those that can have extra columns.
    """
    tables = {name: entry for name, entry in OUTPUTS.items() if entry.reader and name != _CSV}
    entries = {**CSV_FORMATS, **tables, **INTERCHANGE}
    return tuple(name for name, entry in entries.items() if not columns or "columns" in entry.takes)


def table_target(
    beside: Path, to: str | None, output: str | Path | None, formats: Sequence[str] | None = None
) -> TableTarget:
    """Kind, format and path of a table that is to be written.

    Args:
        beside: The path that it goes beside, if none is given: named after it and the format.
        to: Name of the format; None for that of the ending of `output`.
        output: The path that was given; `-` for stdout.
        formats: Names of the formats to choose from; None for all.

    Raises:
        UsageError: There is no such format, the path ends like another one, or both are missing.
    """
    formats = table_formats() if formats is None else formats
    if to is not None and to not in formats:
        raise UsageError(f"there is no table format {to!r}; {nearest_of(to, formats)}")
    kind = None if to is None else _CSV if to in CSV_FORMATS else to
    if output is None:
        if to is None or kind is None:
            raise UsageError(
                f"{spelled('to', 'FORMAT', flag='--to')} or {spelled('output', 'FILE', flag='-o')} is missing; formats are "
                f"{', '.join(formats)}"
            )
        form = f".{to}" if kind == _CSV else ""
        return TableTarget(kind, to, named_after(beside, f"{form}{output_entry(kind).suffix}"))
    path = given_path(output)
    if path == STDOUT:
        kind = kind or _CSV
    else:
        kinds = dict.fromkeys(_CSV if name in CSV_FORMATS else name for name in formats)
        endings = {suffix: name for name in kinds for suffix in output_entry(name).suffixes}
        kind = kind or endings.get(path.suffix.lower())
        if kind is None:
            raise _wrong_ending(path, "a table", [*endings])
    check_kind(path, output_entry(kind))
    return TableTarget(kind, to or (OutputSettings.format if kind == _CSV else kind), path)


def named_after(table: Path, ending: str) -> Path:
    """The path beside a table that is named after it, with another ending.

    Raises:
        UsageError: The path is empty or `.`, which name no file.
    """
    if not table.name:
        raise UsageError(f"{table}: a folder, not a table; give the path of a table")
    return table.with_name(f"{table.stem}{ending}")


def check_kind(path: Path, entry: OutputEntry) -> None:
    """Raise `UsageError` if a kind of output cannot be written to stdout, or does not end so."""
    if path == STDOUT:
        if not entry.stdout:
            raise UsageError(f"{entry.help} cannot be written to stdout; give the path of a file")
    elif path.suffix.lower() not in entry.suffixes:
        raise _wrong_ending(path, entry.help, entry.suffixes)


def check_targets(paths: Sequence[Path], *sources: str | Path | None, overwrite: bool = False) -> None:
    """Check before any work that files can be written, and remove what killed processes have left beside them.

    Args:
        paths: The files; `STDOUT` for stdout.
        sources: What is read: tables, and paths or addresses of videos; None for none.
        overwrite: Whether files that exist may be replaced.

    Raises:
        UsageError: A file exists, is one that is read, or its folder cannot be written.
    """
    try:
        for source in sources:
            check_outputs(paths, source=source, overwrite=overwrite)
    except SinkError as error:
        raise UsageError(str(error)) from error
    for folder in {path.parent for path in paths if path != STDOUT}:
        remove_stale(folder)


def _wrong_ending(path: Path, what: str, endings: Sequence[str]) -> UsageError:
    ending = path.suffix or "no ending"
    return UsageError(f"{path}: {ending} is not an ending of {what}; end its name in {words(endings)}")
