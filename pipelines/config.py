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
import re
import tomllib
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError, settings_as_flags
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
        UsageError: The file cannot be read, holds no settings, or has an unknown key or an invalid value.
    """
    path = Path(path)
    text, content = _content(path)
    known: dict[str, Field[Any]] = {
        field.name: field
        for kind in kinds or (Settings, InputSettings, OutputSettings)
        for field in fields(kind)  # type: ignore[arg-type]
    }
    values = {}
    for name, value in content.items():
        where = f"{path}{_line(text, name)}"
        if name not in known:
            raise UsageError(f"{where}: there is no setting {name!r} here; {nearest_of(name, known)}")
        try:
            with settings_as_flags(False):  # the file has keywords, not options of the command line
                values[name] = option_of(known[name]).check(name, value)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    return values


def _line(text: str, name: str) -> str:
    """`, line 3`, where a setting or a table of settings stands in a file; empty if it is not found."""
    found = re.search(rf"""^[ \t]*(?:\[[ \t]*)?["']?{re.escape(name)}["']?[ \t]*[\]=:]""", text, re.MULTILINE)
    return f", line {text.count(chr(10), 0, found.start()) + 1}" if found else ""


def _content(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's text, and the settings in it."""
    try:
        text = path.read_text(encoding="utf-8")
        facts = text.lstrip().startswith("{")
        content = json.loads(text) if facts else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).removesuffix(")").rpartition(" (at ")
        line = place.partition(",")[0] or "end"  # line 1, column 7
        raise UsageError(
            f"{path}, {line}: not TOML: {what or error}; write name = value, and text in quotes"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path}: not UTF-8 text") from error
    options = content.get("options") if "vtrack" in content else content
    if not isinstance(options, dict) or not options:
        raise UsageError(f"{path}: holds no settings; give a .toml file, or an output's .meta.json")
    return text, options
