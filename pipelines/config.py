"""Settings from a file: a TOML file of one's own, or the `.meta.json` beside an output, which repeats its run.

    parts = "eyes,lips:40"
    smooth = "kalman"
    max_faces = 1
    outputs = ["csv", "video"]
    crf = 18

    [strengths]
    lips = 0.2

The keys are the names of the fields of `Settings`, `InputSettings` and `OutputSettings`.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError
from vtrack.options import Checked, nearest_of, option_of
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings


def read_config(path: str | Path, *kinds: type[Checked]) -> dict[str, Any]:
    """Read settings from a file.

    Args:
        path: A TOML file, or a JSON file: an output's `.meta.json`, or an object of settings.
        kinds: The classes whose fields may stand in it; all settings of a run where none is given.

    Returns:
        The values by name, checked: `Settings(**values)` for one class.

    Raises:
        UsageError: The file cannot be read, or has a key or a value that cannot be.
    """
    path = Path(path)
    known: dict[str, Field[Any]] = {
        field.name: field
        for kind in kinds or (Settings, InputSettings, OutputSettings)
        for field in fields(kind)  # type: ignore[arg-type]
    }
    values = {}
    for name, value in _content(path).items():
        if name not in known:
            raise UsageError(f"{path}: there is no setting {name!r} here; {nearest_of(name, known)}")
        try:
            values[name] = option_of(known[name]).check(name, value)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
    return values


def _content(path: Path) -> dict[str, Any]:
    """The settings as they stand in the file."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: neither TOML nor JSON: {error}") from error
    options = content.get("options", {}) if "vtrack" in content else content
    if not isinstance(options, dict):
        raise UsageError(f"{path}: its options are no table of settings")
    return options
