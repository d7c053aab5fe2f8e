"""Landmark systems by name, and their configs from options given as text."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from vtrack.errors import UsageError
from vtrack.options import nearest_of
from vtrack.parts import nearest

if TYPE_CHECKING:
    from vtrack.models.systems.base import System


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """A landmark system, imported on first use."""

    home: str
    """`module:Class` of its network; its config is `ClassConfig` beside it."""
    help: str

    @property
    def network(self) -> type[System]:
        """Class of its network."""
        return self._at("")

    @property
    def config(self) -> type[Any]:
        """Class of its config."""
        return self._at("Config")

    def _at(self, ending: str) -> type[Any]:
        module, _, name = self.home.partition(":")
        kind: type[Any] = getattr(importlib.import_module(f"vtrack.models.systems.{module}"), name + ending)
        return kind


SYSTEMS: dict[str, SystemEntry] = {
    "udfld": SystemEntry("udfld:Udfld", "any points of any layout"),
    "gcn": SystemEntry("gcn:Gcn", "points of a layout by a graph network"),
    "rht": SystemEntry("rht:Rht", "points of a layout by a reference face"),
    "keyposs": SystemEntry("keyposs:Keyposs", "points of a layout by distances"),
    "gv": SystemEntry("gv:Gv", "points of a layout by vectors"),
    "heatmap": SystemEntry("heatmap:Heatmap", "points of a layout by heatmaps, a baseline"),
    "regression": SystemEntry("regression:Regression", "points of a layout by regression, a baseline"),
}
"""Published systems, and two simple ones as baselines."""


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
        raise UsageError(f"there is no system called {system!r}; {nearest_of(system, SYSTEMS)}")
    kind = SYSTEMS[system].config
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for name in settings:
        if name not in known:
            hint = nearest(name, known, see=f"it has {', '.join(known)}")
            raise UsageError(f"{system} has no option called {name!r}; {hint}")
    return kind(**{name: _value(name, value, hints[name]) for name, value in settings.items()})


def build_system(system: str, config: Any) -> System:
    """A new network with random weights."""
    return SYSTEMS[system].network(config)


def system_of(config: Any) -> str:
    """The name of the system that a config belongs to."""
    return next(name for name, entry in SYSTEMS.items() if type(config) is entry.config)


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
