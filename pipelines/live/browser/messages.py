"""Messages of the page, checked before they cost time: their size, their depth and their numbers."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from vtrack.errors import UsageError

MAX_MESSAGE = 20 * 1024
"""Characters of the longest message, the offer of a browser's camera."""
_MAX_CONTROL = 2048
"""Characters of other messages; the page sends some 200."""
_MAX_BRACKETS = 16
"""Opening brackets in a message; the page's messages have two."""
_MAX_DIGITS = 15
"""Digits of a whole number."""
_MAX_ANSWER = 200
"""Characters of an error message."""
_OFFER = re.compile(r'\s*\{\s*"do"\s*:\s*"camera"')


def parse_message(text: str) -> dict[str, Any]:
    """Parse a message: a JSON object whose `do` says what to do.

    Raises:
        UsageError: The message is too long, too deep, or not of this form; numbers must be finite.
    """
    if len(text) > (MAX_MESSAGE if _OFFER.match(text) else _MAX_CONTROL):
        raise UsageError("message too long")
    if text.count("[") + text.count("{") > _MAX_BRACKETS:
        raise UsageError("invalid message: too many brackets")
    try:
        message = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except ValueError as error:
        raise UsageError("invalid message") from error
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise UsageError("invalid message")
    return message


def error_answer(error: Exception) -> dict[str, str]:
    """An error as a message for the page, in one line of bounded length."""
    text = " ".join(str(error).split())
    return {"error": text if len(text) <= _MAX_ANSWER else f"{text[:_MAX_ANSWER]}…"}


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("number out of range")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number
