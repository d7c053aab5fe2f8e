"""The sink protocol, files that appear only when they are complete, and checks of outputs before the first frame.

A sink is a context manager with `write(result)`. It writes to a hidden file beside its output and renames it at the end
(see `files`). An error removes the hidden file; Ctrl-C does not: the rows and frames written until then are kept.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from vtrack._version import __version__
from vtrack.errors import SinkError, UsageError, spelled
from vtrack.pipelines.outputs.files import PartFile, write_text
from vtrack.pipelines.outputs.stdout import STDOUT, named
from vtrack.types import FrameResult

OUTPUT_MARK = ".vtrack"
"""Part of the names of outputs that were not named, so that none of them is taken for an input."""
_SIDECAR = ".meta.json"
"""What the name of a sidecar has more than that of its output."""
ExceptionType = type[BaseException] | None


class Sink(AbstractContextManager["Sink"], Protocol):
    """An output: takes the results of a video in order, one for each frame.

    Example:
        with sink:
            for result in results:
                sink.write(result)
    """

    def write(self, result: FrameResult) -> None:
        """Write the result of one frame.

        Raises:
            SinkError: The output cannot be written.
        """
        ...


class FileSink(Sink):
    """Base class of sinks that write one file; subclasses implement `_open`, `_write`, `_finish` and `_close`.

    Args:
        path: File to write.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = PartFile(path)

    def __enter__(self) -> Self:
        try:
            with self.file.guarded():
                self._open()
        except BaseException:
            self.file.settle(keep=False)
            raise
        return self

    def write(self, result: FrameResult) -> None:
        """Write the result of one frame."""
        with self.file.guarded():
            self._write(result)

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        # After Ctrl-C the file is valid as far as it goes; after any other error it may not be.
        keep, complete = kind is None or issubclass(kind, KeyboardInterrupt), False
        try:
            if keep:
                with self.file.guarded():
                    self._finish(interrupted=kind is not None)
                complete = True
        finally:
            # The data is written, or another error is being raised: errors of closing add nothing.
            with suppress(*self.file.failures):
                self._close()
            self.file.settle(complete)

    def conclude(self) -> None:
        """Finish the file, instead of leaving the context, for callers that rescue it if that fails.

        Raises:
            SinkError: The file cannot be finished; `rescue` must follow.
        """
        with self.file.guarded():
            self._finish(interrupted=False)
            self._close()
        self.file.settle(keep=True)

    def rescue(self) -> bool:
        """Instead of leaving the context: keep what was written until a write failed, as on a full disk.

        Returns:
            Whether there is a file that others can read.
        """
        with suppress(*self.file.failures):
            self._close()
        kept = False
        with suppress(*self.file.failures):
            kept = self._repair()
        try:
            self.file.settle(kept)
        except SinkError:
            kept = False
        return kept

    def _open(self) -> None:
        """Create the file with `self.file.create()`, unless that needs the first result."""

    def _write(self, result: FrameResult) -> None:
        """Add the result of one frame."""
        raise NotImplementedError

    def _finish(self, interrupted: bool) -> None:
        """Write everything that is held back; `interrupted` if the user stopped the run before its end."""

    def _close(self) -> None:
        """Close the file."""

    def _repair(self) -> bool:
        """After a failed write: make the temporary file readable up to there; return whether anything is in it."""
        return False


def check_outputs(paths: Sequence[str | Path], *, source: str | Path | None = None, overwrite: bool = False) -> None:
    """Check before a run that all outputs can be written.

    Args:
        paths: The files to write; `STDOUT` for stdout.
        source: Path or address of the input; no output may be this file or its sidecar, even with `overwrite`.
        overwrite: Whether existing files may be replaced.

    Raises:
        UsageError: Two outputs have the same path, or one is the input or its sidecar.
        SinkError: A file exists already, its name is too long, or its folder cannot be written.
    """
    outputs = [Path(path) for path in paths]
    resolved: set[Path] = set()
    for path in outputs:
        try:
            path.exists()
        except OSError as error:  # its name is too long, or a folder cannot be looked into
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
        if path.resolve() in resolved:
            raise UsageError(f"two outputs would go to {named(path)}; give each another path")
        resolved.add(path.resolve())
        if source is not None and _is_same(path, Path(source)):
            raise UsageError(f"output {path} is the input itself; choose another path")
        if source is not None and _is_same(path, Path(f"{Path(source)}{_SIDECAR}")):
            raise UsageError(f"output {path} holds the facts about the input; choose another path")
    outputs = [path for path in outputs if path != STDOUT]
    for path in outputs:
        if path.is_dir():
            raise SinkError(f"cannot write {path}: it is a folder; give the path of a file")
        if not path.parent.is_dir():
            raise SinkError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    existing = [str(path) for path in outputs if path.exists()]
    if existing and not overwrite:
        verb = "exists" if len(existing) == 1 else "exist"
        raise SinkError(
            f"{', '.join(existing)} {verb} already; add {spelled('overwrite', True)} or choose another path"
        )
    for folder in dict.fromkeys(path.parent for path in outputs):
        try:
            # Creating a file is the only reliable test: permissions, read-only mounts and quotas all fail here.
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error


def _is_same(path: Path, other: Path) -> bool:
    """Whether both are one file that exists."""
    return path.exists() and other.exists() and path.samefile(other)


def sidecar_path(output: str | Path) -> Path:
    """Return the path of the sidecar of an output, `<output>.meta.json`."""
    output = Path(output)
    return output.with_name(f"{output.name}{_SIDECAR}")


def write_sidecar(
    output: str | Path,
    *,
    options: Mapping[str, Any],
    model: Mapping[str, Any],
    source: Mapping[str, Any],
    counts: Mapping[str, Any],
) -> Path:
    """Write the sidecar of an output: a JSON file that says how the output was made.

    Args:
        output: The output.
        options: Settings of the run.
        model: Facts about the landmark model.
        source: Facts about the source.
        counts: Counts of frames, faces and the like.

    Returns:
        Path of the sidecar.

    Raises:
        SinkError: The sidecar cannot be written.
    """
    facts = {"vtrack": __version__, "options": options, "model": model, "source": source, "counts": counts}
    text = json.dumps(facts, indent=2, default=_plain, ensure_ascii=False) + "\n"
    path = sidecar_path(output)
    write_text(path, text)
    return path


def _plain(value: Any) -> Any:
    """Convert a NumPy number or array, a fraction, a path or another object to what JSON can hold."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "numerator"):
        return float(value)
    return str(value)
