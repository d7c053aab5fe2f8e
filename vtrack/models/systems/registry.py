"""Landmark systems by name, and their configs from options given as text."""

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
"""Config and network class of each system: those of the papers, and two simple ones as baselines."""


def make_config(system: str, settings: Mapping[str, Any]) -> Any:
    """The config of a system.

    Args:
        system: Name in `SYSTEMS`.
        settings: Options of the config that differ from the default, as values or as text from a command line.

    Raises:
        UsageError: There is no such system or option, or text does not fit the option.
        ModelError: A value does not fit the system.
    """
    if system not in SYSTEMS:
        raise UsageError(f"there is no system called {system!r}; choose from {', '.join(SYSTEMS)}")
    kind = SYSTEMS[system][0]
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for name in settings:
        if name not in known:
            hint = nearest(name, known, see=f"it has {', '.join(known)}")
            raise UsageError(f"{system} has no option called {name!r}; {hint}")
    return kind(**{name: _value(name, value, hints[name]) for name, value in settings.items()})


def build_system(system: str, config: Any) -> System:
    """A new network with random weights."""
    return SYSTEMS[system][1](config)


def system_of(config: Any) -> str:
    """The name of the system that a config belongs to."""
    return next(name for name, (kind, _) in SYSTEMS.items() if type(config) is kind)


def _value(name: str, value: Any, hint: Any) -> Any:
    """An option's value; text is converted to the option's type."""
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
