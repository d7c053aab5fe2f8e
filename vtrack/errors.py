"""The exceptions of vtrack, all derived from `VTrackError`.

Each class also derives from the builtin that a caller would expect (`ValueError`, `OSError`), so that code which does not
know vtrack can catch it. The message says what was wrong, what is allowed and what to do; the command line prints it as its
only line.
"""


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
    """An argument or option that cannot be.

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
        'lips' was not asked for; the parts are left_eye, right_eye
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
        samples/sample.mp4: read_table reads .csv, .txt, .jsonl, .ndjson, .parquet files
    """


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


class MissingExtraError(VTrackError, ImportError):
    """A feature whose optional packages are not installed; the message names the extra that brings them.

    Examples:
        >>> import vtrack
        >>> try:
        ...     data = vtrack.track("samples/sample.mp4", stop=0.1).to_xarray()
        ... except vtrack.MissingExtraError as error:
        ...     print(error)  # to_xarray needs xarray; pip install "vtrack[xarray]"
    """
