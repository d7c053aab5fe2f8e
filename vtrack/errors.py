"""Every error that is the user's to mend, in one small tree.

Each class is also the builtin a caller would expect (`ValueError`, `OSError`), so code that does not know vtrack
still catches it. The message says what was wrong, what is allowed and what to do; the command line prints that
message as its only line.
"""


class VTrackError(Exception):
    """Base of all errors that vtrack raises on purpose."""


class UsageError(VTrackError, ValueError):
    """An argument or option that cannot be."""


class QueryError(UsageError):
    """A part, position or layout that does not exist or cannot be read."""


class NameNotAskedError(QueryError, KeyError):
    """A part, group or measure that a result does not hold, because it was not asked for or does not exist."""

    __str__ = Exception.__str__  # KeyError shows its message in quotes


class SourceError(VTrackError, OSError):
    """Video or images that cannot be opened or decoded."""


class SinkError(VTrackError, OSError):
    """An output that cannot be written."""


class DataError(VTrackError, ValueError):
    """Annotations or photographs that are damaged or do not match."""


class EmptySplitError(DataError):
    """A data set that is sound but has no faces in the split asked for."""


class ModelError(VTrackError, ValueError):
    """Weights that are absent, damaged or of another model."""


class MissingExtraError(VTrackError, ImportError):
    """A feature whose optional packages are not installed."""
