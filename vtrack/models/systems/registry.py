"""Landmark systems by name, and their configs from options given as text."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from vtrack.errors import ModelError, UsageError
from vtrack.models.card import INPUT_SIZES, MARGINS
from vtrack.options import nearest_of
from vtrack.parts import nearest

if TYPE_CHECKING:
    from vtrack.models.systems.base import System


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """A landmark system, imported on first use."""

    import_path: str
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
        module, _, name = self.import_path.partition(":")
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


RANGES: dict[str, tuple[float, float]] = {
    "input_size": INPUT_SIZES,
    "margin": MARGINS,
    "dim": (8, 1024),
    "layers": (0, 16),
    "encoder_layers": (0, 16),
    "heads": (1, 64),
    "samples": (1, 64),
    "hidden": (2, 4096),
    "vocabulary": (0, 10_000),
    "position_waves": (0, 64),
    "levels": (3, 4),
    "widths": (4, 1024),
    "visual": (1, 1024),
    "classes": (1, 1024),
    "resolution": (4, 256),
    "bandwidths": (1, 63),
    "kernel": (2, 64),
    "patch": (1, 15),
    "references": (1, 1024),
    "coarse_reference": (1, 16),
    "reference_size": (16, 512),
    "sigma": (0.1, 64),
    "beyond_sigma": (0.1, 64),
    "theta": (0, 100),
    "tau": (1e-3, 1000),
    "alpha": (0, 100),
    "beta": (0, 100),
    "balance": (0, 1000),
    "guidance": (0, 1000),
    "deviation": (0, 100),
    "coordinates": (0, 1000),
    "heatmap_weight": (0, 1000),
    "graph_weight": (0, 1000),
    "backbone_rate": (0, 1000),
    "encoder_rate": (0, 1000),
}
"""Least and largest value of each number among the options of the systems, whichever has it: wide of everything published,
and small enough that a card from a stranger can neither fill the memory nor take minutes to build."""
_MOST_NUMBERS, _LONGEST_TEXT = 16, 100
"""Entries of a list, and letters of a text, among the options."""


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
    values = {name: _value(name, value, hints[name]) for name, value in settings.items()}
    for name, value in values.items():
        _check(name, value, hints[name])
    return kind(**values)


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


def _check(name: str, value: Any, hint: Any) -> None:
    """Raise `ModelError` unless a value is of its option's type and within its range."""
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or len(value) > _MOST_NUMBERS:
            raise ModelError(f"{name} must be a list of at most {_MOST_NUMBERS} numbers, not {_shown(value)}")
        for entry in value:
            _check(name, entry, get_args(hint)[0])
        return
    wanted = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}[hint]
    kinds: Any = int | float if hint is float else hint
    if not isinstance(value, kinds) or (isinstance(value, bool) and hint is not bool):
        raise ModelError(f"{name} must be {wanted}, not {_shown(value)}")
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        raise ModelError(f"{name} must have at most {_LONGEST_TEXT} letters, not {len(value)}")
    if hint in (int, float):
        low, high = RANGES[name]
        if not low <= value <= high:  # false for NaN, too
            raise ModelError(f"{name} must lie between {low:g} and {high:g}, not {_shown(value)}")


def _shown(value: Any) -> str:
    """A value in a message, cut to a length that fits into a line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
