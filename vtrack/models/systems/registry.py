"""All landmark systems by name, and their configs from words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from vtrack.errors import UsageError
from vtrack.models.systems.base import System
from vtrack.models.systems.gcn import Gcn, GcnConfig
from vtrack.models.systems.gv import Gv, GvConfig
from vtrack.models.systems.heatmap import Heatmap, HeatmapConfig
from vtrack.models.systems.keyposs import Keyposs, KeypossConfig
from vtrack.models.systems.regression import Regression, RegressionConfig
from vtrack.models.systems.rht import Rht, RhtConfig
from vtrack.models.systems.udfld import Udfld, UdfldConfig
from vtrack.parts import nearest

SYSTEMS: dict[str, tuple[type[Any], type[System]]] = {
    "udfld": (UdfldConfig, Udfld),
    "gcn": (GcnConfig, Gcn),
    "rht": (RhtConfig, Rht),
    "keyposs": (KeypossConfig, Keyposs),
    "gv": (GvConfig, Gv),
    "heatmap": (HeatmapConfig, Heatmap),
    "regression": (RegressionConfig, Regression),
}
"""Config and network of each: the papers', and two plain ones to compare with."""


def make_config(system: str, settings: Mapping[str, Any]) -> Any:
    """A system's config from some of its knobs, as values or as words from a command line; the rest by default."""
    if system not in SYSTEMS:
        raise UsageError(f"there is no system called {system!r}; choose from {', '.join(SYSTEMS)}")
    kind = SYSTEMS[system][0]
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for name in settings:
        if name not in known:
            hint = nearest(name, known, see=f"it has {', '.join(known)}")
            raise UsageError(f"{system} has no knob called {name!r}; {hint}")
    return kind(**{name: _value(name, value, hints[name]) for name, value in settings.items()})


def build_system(system: str, config: Any) -> System:
    """A fresh network."""
    return SYSTEMS[system][1](config)


def system_of(config: Any) -> str:
    """The name of the system that a config is of."""
    return next(name for name, (kind, _) in SYSTEMS.items() if type(config) is kind)


def _value(name: str, value: Any, hint: Any) -> Any:
    """A knob's value; words become what the knob is."""
    if not isinstance(value, str) or hint is str:
        return value
    try:
        if get_origin(hint) is tuple:
            kind = get_args(hint)[0]
            return tuple(kind(word) for word in value.split(",") if word)
        if hint is bool:
            return {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}[value.lower()]
        return hint(value)
    except (ValueError, KeyError):
        wanted = (
            "numbers with commas between" if get_origin(hint) is tuple else {bool: "yes or no"}.get(hint, "a number")
        )
        raise UsageError(f"{name} must be {wanted}, not {value!r}") from None
