"""Where outputs go: the paths that were given, stdout, or beside the source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vtrack.errors import SinkError, UsageError, spelled
from vtrack.options import words
from vtrack.pipelines.outputs.base import OUTPUT_MARK
from vtrack.pipelines.outputs.stdout import STDOUT
from vtrack.pipelines.registry import OUTPUTS
from vtrack.pipelines.sources.open import STDIN, is_address


def output_paths(
    given: Mapping[str, str | Path | None], source: Any, folder: str | Path | None = None
) -> dict[str, Path]:
    """The path of each output.

    Args:
        given: What was given for each output, by its name in `OUTPUTS`: a path, `-` for stdout, or None.
        source: What is read: an output without a path is named after it and goes beside it.
        folder: Where outputs without a path go instead.

    Raises:
        UsageError: A path ends like another kind of output, this kind cannot be written to stdout, or the source gives no
            name.
    """
    return {
        name: _beside(name, source, folder) if path is None else checked_path(name, path)
        for name, path in given.items()
    }


def checked_path(name: str, given: str | Path, others: Collection[str] = OUTPUTS) -> Path:
    """The path that was given for an output, `STDOUT` for `-`.

    Raises:
        UsageError: It ends like another kind of output (`others` are those to choose from), or this kind cannot be written
            to stdout.
    """
    path, entry = given_path(given), OUTPUTS[name]
    if path == STDOUT:
        if not entry.stdout:
            able = words(
                [spelled(other, "-") for other in others if OUTPUTS[other].stdout and not OUTPUTS[other].measures]
            )
            raise UsageError(f"{spelled(name, '-')}: {entry.help} cannot be written to stdout; use {able}")
        return STDOUT
    ending = "" if entry.folder else path.suffix.lower()
    if ending and ending not in (*entry.suffixes, *entry.shared_suffixes):
        right = [other for other in others if ending in OUTPUTS[other].suffixes]
        what = (
            f"use {spelled(right[0], str(path))}"
            if right
            else f"end its name in {words((*entry.suffixes, *entry.shared_suffixes))}"
        )
        raise UsageError(f"{spelled(name, str(path))}: {ending} is not an ending of {entry.help}; {what}")
    return path


def given_path(given: str | Path) -> Path:
    """The path that was given for an output: `STDOUT` for `-`, and `./-` for the file of that name."""
    path = Path(given)
    return path.absolute() if path == STDOUT and str(given) != str(STDOUT) else path


def default_output(source: str | Path, folder: Path | None = None) -> Path:
    """Where the outputs of a source go, but for their suffix: beside it, or in `folder`; for an address or stdin here."""
    if source == STDIN:
        name, beside = "stdin", Path()
    elif is_address(source):
        name, beside = Path(urlsplit(str(source)).path).stem or "stream", Path()
    else:
        path = Path(source).absolute()
        # A pattern stands for its folder.
        path = path.parent if any(mark in path.name for mark in "*?[") and not path.exists() else path
        name, beside = path.name if path.is_dir() else path.stem, path.parent
    return (folder or beside) / f"{name}{OUTPUT_MARK}"


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, unless it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def _beside(name: str, source: Any, folder: str | Path | None) -> Path:
    """The path of an output that was given none."""
    if not isinstance(source, str | Path) or not str(source):
        raise UsageError(f"{name} needs a path: frames in memory have no file that it could stand beside")
    if source == STDIN and folder is None:
        raise UsageError(
            f"a video from stdin gives its outputs no name; write {spelled(name, 'PATH')}, or {spelled('output', 'DIR')}"
        )
    beside = default_output(source, None if folder is None else Path(folder))
    return beside.with_name(beside.name + OUTPUTS[name].suffix)
