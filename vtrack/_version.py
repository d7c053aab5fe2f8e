"""The version of vtrack, for the package, its metadata and the facts beside outputs."""

__version__ = "0.1.0"
