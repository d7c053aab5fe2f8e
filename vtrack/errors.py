"""The exceptions of vtrack, all derived from `VTrackError`.

Each class also derives from the builtin that a caller would expect (`ValueError`, `OSError`), so that code which does not
know vtrack can catch it. The message says what was wrong, what is allowed and what to do; the command line prints it as its
only line. Settings are named in messages by `spelled`: as keywords in Python, as options on the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_flags = False
"""Whether messages name settings as options of the command line. It holds for all threads of a command."""


@contextmanager
def settings_as_flags(flags: bool = True) -> Iterator[None]:
    """Have messages name settings as options of the command line, `--max-faces`, or again as keywords."""
    global _flags  # noqa: PLW0603  (threads that a command starts do not inherit context variables)
    before, _flags = _flags, flags
    try:
        yield
    finally:
        _flags = before


def spelled(name: str, value: object = None, *, flag: str = "") -> str:
    """A setting as the reader of a message would write it.

    Args:
        name: Keyword of the setting in Python, `max_faces`.
        value: What it is to be set to; None for the name alone.
        flag: Option of the command line; made from the name where empty.

    Returns:
        `smooth="none"` or `overwrite=True` in Python, `--smooth none` or `--overwrite` within `settings_as_flags`.
    """
    if _flags:
        flag = flag or f"--{name.replace('_', '-')}"
        return flag if value is None or value is True else f"{flag} {value}"
    if value is None:
        return name
    return f'{name}="{value}"' if isinstance(value, str) else f"{name}={value!r}"


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End a program, as `python -m vtrack.data.mesh_labels`, with one line instead of a traceback.

    Its exit code is 2 for wrong usage and 1 for any other error of ours.
    """
    try:
        yield
    except VTrackError as error:
        sys.stderr.write(f"vtrack: {error}\n")
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None


class VTrackError(Exception):
    """Base of all errors that vtrack raises on purpose.

    Examples:
        >>> import vtrack
        >>> try:
        ...     vtrack.track("absent.mp4", parts="eyes")
        ... except vtrack.VTrackError as error:
        ...     print(error)
        absent.mp4: no such file or folder
    """


class UsageError(VTrackError, ValueError):
    """An argument or option that is invalid, or that does not apply.

    Examples:
        >>> import vtrack
        >>> try:
        ...     vtrack.track("samples/sample.mp4", max_faces=0)
        ... except vtrack.UsageError as error:
        ...     print(error)
        max_faces must be at least 1, got 0
    """


class QueryError(UsageError):
    """A part, position or layout that does not exist or cannot be read.

    Examples:
        >>> import vtrack
        >>> try:
        ...     vtrack.parse_query("eyes,lipz")
        ... except vtrack.QueryError as error:
        ...     print(str(error).rpartition("; ")[2])
        did you mean lips? `vtrack parts` lists them all
    """


class NameNotAskedError(QueryError, KeyError):
    """A part, group or measure that a result does not hold, because it was not asked for or does not exist.

    Examples:
        >>> import vtrack
        >>> face = next(vtrack.track("samples/sample.mp4", parts="eyes")).faces[0]
        >>> try:
        ...     face["lips"]
        ... except vtrack.NameNotAskedError as error:
        ...     print(error)
        'lips' was not asked for; add it to parts (here left_eye, right_eye)
    """

    __str__ = Exception.__str__  # KeyError shows its message in quotes


class SourceError(VTrackError, OSError):
    """Video or images that cannot be opened or decoded.

    Examples:
        >>> import vtrack
        >>> try:
        ...     vtrack.open_source("samples")
        ... except vtrack.SourceError as error:
        ...     print(error)
        samples: holds 1 video, no images; try `vtrack batch samples`
    """


class SinkError(VTrackError, OSError):
    """An output that cannot be written.

    Examples:
        >>> import vtrack
        >>> try:
        ...     vtrack.run("samples/sample.mp4", csv="absent/eyes.csv")
        ... except vtrack.SinkError as error:
        ...     print(error)
        cannot write absent/eyes.csv: there is no folder absent; create it first
    """


class DataError(VTrackError, ValueError):
    """Tables, annotations or photographs that are damaged or do not match.

    Examples:
        >>> import vtrack
        >>> try:
        ...     vtrack.read_table("samples/sample.mp4")
        ... except vtrack.DataError as error:
        ...     print(error)
        samples/sample.mp4: not a table; vtrack reads .csv, .txt, .jsonl, .ndjson, .parquet, .json, .npy files
    """


class TableError(DataError, UsageError):
    """A file that is not a table of a known kind, or is damaged: wrong usage, as a mistyped path is."""


class EmptySplitError(DataError):
    """A data set that is sound but has no faces in the split asked for."""


class ModelError(VTrackError, ValueError):
    """Weights that are absent, damaged or of another model.

    Examples:
        >>> import vtrack
        >>> try:
        ...     vtrack.load_model("slow")
        ... except vtrack.ModelError as error:
        ...     print(str(error).partition(";")[0])
        there is no model 'slow'
    """


class UnknownModelError(ModelError, UsageError):
    """The name of a model that does not exist: wrong usage, as a mistyped part is."""


class MissingExtraError(VTrackError, ImportError):
    """A feature whose optional packages are not installed; the message names the extra that brings them.

    Examples:
        >>> import vtrack
        >>> try:
        ...     data = vtrack.track("samples/sample.mp4", stop=0.1).to_xarray()
        ... except vtrack.MissingExtraError as error:
        ...     print(error)  # to_xarray needs xarray; pip install "vtrack[xarray]"
    """
