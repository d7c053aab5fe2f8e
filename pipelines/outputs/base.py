"""Where results go: the sink protocol, outputs that appear whole or not at all, checks before the first frame.

A sink is a context manager with `write(result)`. It fills a hidden file beside its output, `.<name>.part`, and gives it
its name at the end. An error on the way removes it; Ctrl-C does not: the rows and frames finished by then are kept.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from vtrack._version import __version__
from vtrack.errors import SinkError, UsageError
from vtrack.types import FrameResult

Raised = type[BaseException] | None


class Sink(AbstractContextManager["Sink"], Protocol):
    """Takes results in order, one for each frame."""

    def write(self, result: FrameResult) -> None:
        """Take one frame's result."""
        ...


class PartFile:
    """An output under its temporary name, until it is whole."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f".{self.path.name}.part")
        self.failures: tuple[type[Exception], ...] = (OSError,)
        """What opening and writing may raise."""

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn a failure of opening or writing (disk full, folder gone) into an error that names the output."""
        try:
            yield
        except SinkError:
            raise
        except self.failures as error:
            reason = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot write {self.path}: {reason}") from error

    def settle(self, keep: bool) -> None:
        """Give the file its name, once its bytes are on the disk; or remove it."""
        try:
            if keep and self.part.exists():
                with self.guarded():
                    with self.part.open("rb+") as file:
                        os.fsync(file.fileno())
                    self.part.replace(self.path)
        finally:
            self.part.unlink(missing_ok=True)


class FileSink(Sink):
    """A sink that fills one file. What differs between formats is opening, writing, finishing and closing."""

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
        """Take one frame's result."""
        with self.file.guarded():
            self._write(result)

    def __exit__(self, kind: Raised, error: BaseException | None, trace: TracebackType | None) -> None:
        # What was done before Ctrl-C is whole as far as it goes; after any other error it may not be.
        keep, whole = kind is None or issubclass(kind, KeyboardInterrupt), False
        try:
            if keep:
                with self.file.guarded():
                    self._finish(interrupted=kind is not None)
                whole = True
        finally:
            # The bytes are out, or an error is on its way already: closing has nothing to add to it.
            with suppress(*self.file.failures):
                self._close()
            self.file.settle(whole)

    def _open(self) -> None:
        """Create `self.file.part`, unless only the first result tells how."""

    def _write(self, result: FrameResult) -> None:
        """Add one result."""
        raise NotImplementedError

    def _finish(self, interrupted: bool) -> None:
        """Bring everything held back into the file. `interrupted`: the user stopped the run before its end."""

    def _close(self) -> None:
        """Let go of the file."""


def check_outputs(paths: Sequence[str | Path], *, source: str | Path | None = None, overwrite: bool = False) -> None:
    """Raise before anything is opened, if one of the outputs cannot or must not be written.

    `source` is what is read; no output may be that file, not even with `overwrite`.
    """
    outputs = [Path(path) for path in paths]
    seen: set[Path] = set()
    for path in outputs:
        if path.resolve() in seen:
            raise UsageError(f"two outputs would go to {path}; give each its own path")
        seen.add(path.resolve())
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise UsageError(f"output {path} is the input itself; give another path")
    for path in outputs:
        if path.is_dir():
            raise SinkError(f"cannot write {path}: it is a folder; give the path of a file")
        if not path.parent.is_dir():
            raise SinkError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    existing = [str(path) for path in outputs if path.exists()]
    if existing and not overwrite:
        verb = "exists" if len(existing) == 1 else "exist"
        raise SinkError(f"{', '.join(existing)} {verb} already; add --overwrite or choose another path")
    for folder in dict.fromkeys(path.parent for path in outputs):
        try:
            # Trying is the only honest test: permissions, read-only mounts and quotas all answer here.
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error


def sidecar_path(output: str | Path) -> Path:
    """Where the facts about one output stand: `<output>.meta.json`."""
    output = Path(output)
    return output.with_name(f"{output.name}.meta.json")


def write_sidecar(
    output: str | Path,
    *,
    options: Mapping[str, Any],
    model: Mapping[str, Any],
    source: Mapping[str, Any],
    counts: Mapping[str, Any],
) -> Path:
    """Write what made an output beside it: version, options, the model's card, facts of the source, counts."""
    facts = {"vtrack": __version__, "options": options, "model": model, "source": source, "counts": counts}
    text = json.dumps(facts, indent=2, default=_plain, ensure_ascii=False) + "\n"
    file, written = PartFile(sidecar_path(output)), False
    try:
        with file.guarded():
            file.part.write_text(text, encoding="utf-8")
        written = True
    finally:
        file.settle(written)
    return file.path


def _plain(value: Any) -> Any:
    """JSON's view of a fraction, a NumPy number or array, a path and everything else that reads well as text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "numerator"):
        return float(value)
    return str(value)
