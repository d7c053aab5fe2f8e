"""Model cards: a JSON file beside the weights with the model's config, training and scores."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from vtrack.errors import ModelError, UsageError
from vtrack.layouts import load_layout
from vtrack.parts import PARTS
from vtrack.types import Query

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "fast"
"""The shipped model that is used unless another is named."""

DETECTOR = "detector"
"""System of a face detector's card; all others are landmark models."""
INPUT_SIZES = (32, 1024)
"""Sides of crops that a landmark model may have, in pixels."""
MARGINS = (0.5, 10.0)
"""Sides of crops in face boxes that a landmark model may have."""
_LARGEST_FILE = 16 << 20
"""Bytes of a card; the shipped ones have at most 24 kB."""
_CLOSEST = 1e-6
"""Distance along a part that two trained positions keep at least."""


@dataclass(frozen=True)
class Card:
    """Description of one set of weights."""

    name: str
    system: str
    """The network's class by its name in `vtrack.models.systems.registry`, `udfld` for example."""
    summary: str
    """One sentence for people."""
    config: Mapping[str, Any]
    """Arguments of the system's config."""
    sigma_scale: float = 1.0
    """Calibration: 68 % of coordinate errors on the validation split are below the network's spread times this."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How the weights were trained."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Data sets trained on, and their terms."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Results of the evaluation."""
    taught: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    """Positions that its data sets mark on each part, see `vtrack.models.decoding.interpolation`."""
    faces: Mapping[str, float] = field(default_factory=dict)
    """Photographs of faces, 1 % of which have a larger `sigma` of the anchors, in sides of the box, and 1 % a lower `presence`;
    `vtrack.pipelines.tracking.doubt` compares with these."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file beside the card, by the file's ending, see `vtrack.models.checksums`."""

    @property
    def reference(self) -> dict[str, Any]:
        """Reference to this model for outputs: name, system, input size, and a checksum of the card."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        size = self.config.get("input_size")
        return {"name": self.name, "system": self.system, "input_size": size, "card_sha256": digest}

    @property
    def tells_hidden(self) -> bool:
        """Whether the model tells which points are hidden by something in front of them."""
        return self.config.get("occlusion") is True

    @property
    def errors(self) -> dict[str, float]:
        """The mean error on each data set's validation part, in % of the distance between the outer eye corners."""
        return {
            name: figures["nme_inter_ocular_percent"]
            for name, figures in self.scores.items()
            if isinstance(figures, Mapping)
            and _is_within(figures.get("nme_inter_ocular_percent"), 0.0, math.inf)
            and not name.endswith("+middles")
        }

    def unknown_parts(self, query: Query) -> tuple[str, ...]:
        """The parts of a query of which a model of one layout learned no point, and which it places by those it learned."""
        if "layout" not in self.config:
            return ()
        known = load_layout(self.config["layout"]).query.parts
        return tuple(part for part in dict.fromkeys(query.parts) if part not in known)

    def describe(self, query: Query) -> dict[str, Any]:
        """The reference for the outputs of a query: it names the parts whose points are guessed, if there are such."""
        unknown = self.unknown_parts(query)
        return {**self.reference, "guessed_parts": list(unknown)} if unknown else self.reference

    def write(self, path: Path) -> None:
        """Save as JSON."""
        text = re.sub(r"\[\n[^\[\]{}]*\]", _one_line, json.dumps(asdict(self), indent=2))
        path.write_text(text + "\n", encoding="utf-8")


def check_parts(card: Card, query: Query) -> None:
    """Log a warning that names the parts that a model of one layout does not know.

    Raises:
        UsageError: It knows none of the parts.
    """
    if warning := parts_warning(card, query):
        log.warning("%s", warning)


def parts_warning(card: Card, query: Query) -> str:
    """The line that names the parts that a model of one layout does not know; empty if it knows all.

    Raises:
        UsageError: It knows none of the parts.
    """
    unknown = card.unknown_parts(query)
    if not unknown:
        return ""
    names = ", ".join(unknown)
    if len(unknown) == len(set(query.parts)):
        raise UsageError(f"the model {card.name} knows none of {names}; use another model, such as fast")
    return f"the model {card.name} does not know {names}: their points are guessed from other parts; use --model fast"


def _one_line(found: re.Match[str]) -> str:
    """A JSON list on one line."""
    return f"[{' '.join(line.strip() for line in found[0][1:-1].splitlines() if line.strip())}]"


def shipped() -> tuple[str, ...]:
    """Names of the landmark models that come with the package."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.json")))


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        ModelError: The file cannot be read or is not a card.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise ModelError(f"{path}: not a model card: it is larger than {_LARGEST_FILE >> 20} MB")
        content = json.loads(text.decode("utf-8"))
        if not isinstance(content, dict):
            raise ModelError(f"{path}: not a model card: it is no JSON object")
        card = Card(**content)
    except OSError as error:
        raise ModelError(f"{path}: the model card cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ModelError(f"{path}: not a model card: it is nested too deeply") from error
    except ModelError:
        raise
    except (ValueError, TypeError) as error:  # no UTF-8, no JSON; entries that are missing or unknown
        raise ModelError(f"{path}: not a model card: {error}") from error
    fault = _fault(card)
    if fault:
        raise ModelError(f"{path}: {fault}")
    return card


def read_landmark_card(path: Path) -> Card:
    """Read the card of a landmark model.

    Raises:
        ModelError: The file cannot be read, is not a card, or is the card of a face detector.
    """
    card = read_card(path)
    if card.system == DETECTOR:
        raise ModelError(
            f"{path}: this is the card of a face detector, not of a landmark model; give it as --detector-model"
        )
    fault = _crop_fault(card.config)
    if fault:
        raise ModelError(f"{path}: {fault}")
    return card


def _fault(card: Card) -> str:
    """What is wrong with the values of a card, or nothing; the options of its system are checked where it is built."""
    for entry in fields(card):
        value = getattr(card, entry.name)
        kind = str if entry.name in ("name", "system", "summary") else Mapping
        if entry.name != "sigma_scale" and not isinstance(value, kind):
            return f"{entry.name} must be {'a text' if kind is str else 'an object'}, not {_shown(value)}"
    if not _is_within(card.sigma_scale, 1e-3, 1e3):
        return f"sigma_scale must lie between 0.001 and 1000, not {_shown(card.sigma_scale)}"
    if card.faces and not (
        card.faces.keys() == {"sigma", "presence"}
        and _is_within(card.faces["sigma"], 1e-3, 1.0)
        and _is_within(card.faces["presence"], 0.0, 1.0)
    ):
        return "faces must have a sigma from 0.001 to 1 and a presence from 0 to 1"
    if not all(isinstance(digest, str) for digest in card.checksums.values()):
        return "checksums must be texts"
    return _taught_fault(card.taught)


def _taught_fault(taught: Mapping[str, Any]) -> str:
    """What is wrong with the trained positions of a card, or nothing."""
    for part, places in taught.items():
        if not isinstance(places, Mapping) or not all(_is_rising(part, places.get(key)) for key in ("knots", "others")):
            return f"{part} needs `knots` and `others`, rising positions from 0 to 1"
        if not places["knots"]:
            return f"{part} has no knots"
    return ""


def _crop_fault(config: Mapping[str, Any]) -> str:
    """What is wrong with the crops and the layout of a landmark model, or nothing. Graphs need no other options."""
    size, margin = config.get("input_size"), config.get("margin")
    if not isinstance(size, int) or not _is_within(size, *INPUT_SIZES):
        return f"input_size must be a whole number from {INPUT_SIZES[0]} to {INPUT_SIZES[1]}, not {_shown(size)}"
    if not isinstance(config.get("layout", ""), str):
        return f"layout must be a text, not {_shown(config['layout'])}"
    if not _is_within(margin, *MARGINS):
        return f"margin must lie between {MARGINS[0]:g} and {MARGINS[1]:g}, not {_shown(margin)}"
    return ""


def _is_within(value: Any, low: float, high: float) -> bool:
    """Whether a value is a number within limits; NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_rising(part: str, places: Any) -> bool:
    """Whether these are rising positions on a part; the end of a closed part is its start again."""
    end = 1.0 - _CLOSEST if part in PARTS and PARTS[part].closed else 1.0
    return (
        isinstance(places, Sequence)
        and all(_is_within(place, 0.0, end) for place in places)
        and all(after - before >= _CLOSEST for before, after in pairwise(places))
    )


def _shown(value: Any) -> str:
    """A value in a message, cut to a length that fits into a line."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
