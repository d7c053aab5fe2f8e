"""One setting is one field of a dataclass: its default, help, unit, choices and range stand beside it, and nowhere else.

    @dataclass(frozen=True, kw_only=True)
    class Speed(Checked):
        limit: float = option(50.0, "how fast to go at most", unit="km/h", low=0)

The command line makes its options and help texts of such fields, configuration files are read by their names, and a
invalid value is refused when the object is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError, spelled
from vtrack.parts import nearest

_KEY = "option"
_WANTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    tuple: "names",
    dict: "numbers by name",
}


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is known of a setting beside its name and default."""

    help: str
    kind: type
    """int, float, bool, str, Path, tuple (of names) or dict (of numbers by name)."""
    unit: str = ""
    choices: Collection[str] = ()
    """The words that it may be; empty where any will do."""
    noun: str = ""
    """What one of the choices is called in messages; the setting's name where empty."""
    low: float | None = None
    high: float | None = None
    flag: str | None = ""
    """On the command line; made from the setting's name where empty; None where it has none."""
    metavar: str | None = None
    group: str = ""
    """Title under which `--help` lists it."""
    parse: Callable[[str], Any] | None = None
    """From a word of the command line or a configuration file."""
    none: bool = False
    """Whether the word `none` stands for no name at all, where names are wanted."""
    objects: bool = False
    """Whether an object of one's own may stand in the place of the word."""
    optional: bool = False
    """Whether None is a value."""

    def check(self, name: str, value: Any) -> Any:
        """The value in the form that the setting has; raises `UsageError` for an invalid one."""
        if value is None and self.optional:
            return None
        if isinstance(value, str) and self.parse is not None:
            value = self.parse(value)
        if self.kind is tuple:
            return self._names(name, value)
        if self.objects and value is not None and not isinstance(value, bool | Real):
            return self._chosen(name, value) if isinstance(value, str) else value
        if not isinstance(value, _ACCEPTED[self.kind]) or (isinstance(value, bool) and self.kind is not bool):
            raise UsageError(f"{self._spelled(name)} must be {_WANTED[self.kind]}, got {value!r}")
        if self.kind is dict:
            return {str(key): self._number(f"{name}.{key}", each) for key, each in value.items()}
        value = self.kind(value)
        if isinstance(value, int | float):
            return self._ranged(name, value)
        return self._chosen(name, value) if self.kind is str else value

    def _spelled(self, name: str) -> str:
        """The setting `name`, or `name.key` of numbers by name, in a message."""
        flag, key = self.flag or "", name.partition(".")[2]
        return spelled(name, flag=f"{flag.rpartition('.')[0]}.{key}" if key and flag else flag)

    def _number(self, name: str, value: Any) -> float:
        if not isinstance(value, Real) or isinstance(value, bool):
            raise UsageError(f"{self._spelled(name)} must be a number, got {value!r}")
        return self._ranged(name, float(value))

    @property
    def range(self) -> str:
        """`0 to 1 seconds`, `at least 1`; empty where all numbers will do."""
        if self.low is None:
            return ""
        wide = f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"
        return f"{wide} {self.unit}".strip()

    def _ranged(self, name: str, value: float) -> float:
        if (self.low is not None and not value >= self.low) or (self.high is not None and not value <= self.high):
            raise UsageError(f"{self._spelled(name)} must be {self.range}, got {value:g}")
        return value

    def _chosen(self, name: str, value: str) -> str:
        if self.choices and value not in self.choices:
            raise UsageError(f"there is no {self.noun or name} {value!r}; {nearest_of(value, self.choices)}")
        return value

    def _names(self, name: str, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = split_names(value) or ("",) * self.none
        if not isinstance(value, Collection) or not all(isinstance(each, str) for each in value):
            raise UsageError(f"{self._spelled(name)} must be names, got {value!r}")
        if self.none and tuple(value) == ("none",):
            return ()
        for each in value:
            if self.choices and each not in self.choices:
                known = (*self.choices, "none") if self.none else self.choices
                raise UsageError(f"there is no {self.noun or name} {each!r}; {nearest_of(each, known)}")
        # In one order, so that the same choice is the same value.
        return tuple(each for each in self.choices or dict.fromkeys(value) if each in value)


_ACCEPTED: Mapping[type, Any] = {
    int: Integral,
    float: Real,
    bool: bool,
    str: str,
    Path: str | Path,
    dict: Mapping,
}


def option(default: Any, help: str, *, kind: type | None = None, **details: Any) -> Any:
    """A dataclass field that is a setting; `details` are those of `Option`."""
    kind = type(default) if kind is None else kind
    known = {_KEY: Option(help=help, kind=kind, optional=default is None, **details)}
    return field(default_factory=dict, metadata=known) if kind is dict else field(default=default, metadata=known)


def option_of(field: Field[Any]) -> Option:
    """What is known of a setting."""
    details: Option = field.metadata[_KEY]
    return details


class Checked:
    """Base of settings: each is checked, and brought into one form, when the object is made."""

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, each.name, option_of(each).check(each.name, getattr(self, each.name)))

    def __repr__(self) -> str:
        """Those that differ from their defaults."""
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.changed())})"

    def changed(self) -> list[str]:
        """Names of the settings that differ from their defaults."""
        return [each.name for each in fields(self) if getattr(self, each.name) != default_of(each)]  # type: ignore[arg-type]


def default_of(field: Field[Any]) -> Any:
    """The default in the form that the setting has."""
    option = option_of(field)
    return {} if option.kind is dict else option.check(field.name, field.default)


def flag_of(field: Field[Any]) -> str:
    """The name of a setting on the command line."""
    return option_of(field).flag or f"--{field.name.replace('_', '-')}"


def spelled_field(field: Field[Any]) -> str:
    """The name of a setting in a message: a keyword in Python, an option on the command line."""
    return spelled(field.name, flag=flag_of(field))


def nearest_of(word: str, choices: Collection[str]) -> str:
    """`did you mean X? choose from X, Y, Z`."""
    return nearest(word, choices, see=f"choose from {', '.join(choices)}")


def split_names(text: str) -> tuple[str, ...]:
    """`a,b` as a tuple."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def seconds(text: str) -> float:
    """`90`, `1:30` and `0:01:30.5` as seconds."""
    if re.fullmatch(r"(?:(?:\d+:[0-5]?\d|\d+):[0-5]?\d|\d+)(?:\.\d*)?", text) is None:
        raise UsageError(f"{text!r} is not a time; write seconds or [h:]mm:ss")
    time = 0.0
    for piece in text.split(":"):
        time = time * 60 + float(piece)
    return time


def words(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
