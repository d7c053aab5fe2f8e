"""Numbers, times and names as text of a page."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from vtrack.pipelines.sources.images.files import printable


def safe(text: object) -> str:
    """Text for HTML, also in attributes; bytes of names that are not UTF-8 are escaped."""
    return escape(printable(str(text)))


def clock(seconds: float, digits: int = 1) -> str:
    """A time as `1:02:03.5`, or `2:03.5`."""
    sign, ticks = ("−" if seconds < 0 else ""), round(abs(seconds) * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{part:0{digits}}" if digits else ""
    return f"{sign}{hours}:{minutes:02}:{rest:02}{fraction}" if hours else f"{sign}{minutes}:{rest:02}{fraction}"


def duration(seconds: float) -> str:
    """A length of time as `9.0 s`, `3 min 05 s` or `2 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def whole(number: float) -> str:
    """A whole number, its thousands apart."""
    return f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def count(number: int, noun: str, ending: str = "s") -> str:
    """A number and a noun, which takes the ending where it is more than one."""
    return f"{whole(number)} {noun}{'' if number == 1 else ending}"


def percent(share: float) -> str:
    """A share as percent; a small one is not rounded away."""
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.1f} %"


def number(value: float, digits: int = 2) -> str:
    """A number, a dash where it is unknown."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def setting(value: Any) -> str:
    """The value of a setting."""
    if value is None or value in ([], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {setting(each)}" for name, each in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
