"""The page's controls: which parts are shown, how densely, smoothing, drawing, mirror, pause and recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vtrack.errors import UsageError
from vtrack.parts import GROUPS, PARTS
from vtrack.pipelines.live.recorder import LiveDrawing, OnDemandRecorder
from vtrack.pipelines.live.session import LiveSession
from vtrack.pipelines.settings import OutputSettings
from vtrack.query import parse_query
from vtrack.types import Query

CHIPS = ("jaw", "brows", "eyes", "pupils", "nose", "lips", "irises", "hairline", "ears")
"""Parts that the page offers, one button ("chip") each."""
DENSITY = (0.25, 6.0)
"""Smallest and largest density of points; 1 is the default number of points of each part."""


class Controls:
    """State of the controls, shared by all viewers; changing them changes the session, the drawing or the recording."""

    def __init__(
        self, session: LiveSession, draw: LiveDrawing, recorder: OnDemandRecorder, *, mirror: bool = True
    ) -> None:
        self._session, self._draw, self._recorder = session, draw, recorder
        self.parts = chips_of(session.shown_query)
        self.density = 1.0
        self.strength = session.pipeline.settings.strength
        self.drawing = next(_text(style) for style in draw.styles if draw.kinds == frozenset(style))
        self.mirror = mirror
        self.paused = False

    @property
    def recording(self) -> bool:
        """Whether a recording is in progress."""
        return self._recorder.on

    def apply(self, message: Mapping[str, Any]) -> None:
        """Apply a message of the page, for example `{"do": "smooth", "strength": 0.8}`.

        Raises:
            VTrackError: The action is unknown, a value is out of range, or a recording cannot be written.
            ValueError, TypeError, KeyError: The message has the wrong form.
        """
        match message["do"]:
            case "show":
                parts, density = [str(part) for part in message["parts"]], float(message["density"])
                self._session.show(query_of(parts, density))
                self.parts, self.density = parts, density
            case "smooth":
                strength = float(message["strength"])
                self._session.smooth(strength)
                self.strength = strength
            case "draw":
                drawing = str(message["kinds"])
                self._draw.kinds, self.drawing = frozenset(OutputSettings(draw=drawing).draw), drawing
            case "mirror":
                self.mirror = bool(message["on"])
            case "pause":
                self.paused = bool(message["on"])
            case "record":
                if message["on"]:
                    self._recorder.start()
                else:
                    self._recorder.stop()
            case other:
                raise UsageError(f"unknown action {other!r}")

    def state(self) -> dict[str, Any]:
        """State of the controls as JSON for the page."""
        return {
            "chips": list(CHIPS),
            "parts": self.parts,
            "density": self.density,
            "strength": self.strength,
            "draw": self.drawing,
            "styles": [_text(style) for style in self._draw.styles],
            "mirror": self.mirror,
            "paused": self.paused,
            "points": len(self._session.shown_query),
            "recording": self.recording,
            "recorded": [str(path) for path in self._recorder.paths],
            "notice": self._session.notice,
        }


def _text(style: Sequence[str]) -> str:
    """Kinds of drawing as `--draw` takes them."""
    return ",".join(style) or "none"


def query_of(parts: Sequence[str], density: float) -> Query:
    """The points of some chips.

    Args:
        parts: Names from `CHIPS`.
        density: Factor on the default number of points of each part.

    Raises:
        UsageError: A name is unknown or the density is out of range.
    """
    if not DENSITY[0] <= density <= DENSITY[1]:
        raise UsageError(f"density must be {DENSITY[0]:g}..{DENSITY[1]:g}, got {density:g}")
    if len(parts) > len(CHIPS):
        raise UsageError(f"at most {len(CHIPS)} parts, got {len(parts)}")
    unknown = [part for part in parts if part not in CHIPS]
    if unknown:
        raise UsageError(f"unknown parts {', '.join(unknown)}; choose from {', '.join(CHIPS)}")
    terms = []
    for part in dict.fromkeys(parts):
        members = [PARTS[name] for name in GROUPS.get(part, (part,))]
        count = round(density * sum(member.count for member in members))
        # A pupil is a single point at any density.
        single = all(member.count == 1 for member in members)
        terms.append(part if single else f"{part}:{max(count, 2 * len(members))}")
    return parse_query(",".join(terms)) if terms else Query((), ())


def chips_of(query: Query) -> list[str]:
    """The chips whose parts a query contains."""
    return [chip for chip in CHIPS if set(GROUPS.get(chip, (chip,))) & set(query.parts)]
