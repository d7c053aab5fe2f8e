"""What the card of a native detector says: the size of its network, its threshold and its calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.detectors.geometry import STRIDES
from vtrack.errors import ModelError
from vtrack.models.card import DETECTOR, Card, read_card
from vtrack.types import FloatArray

WIDTHS, DEPTHS = (1, 1024), (1, 32)
"""Channels of a stage, and blocks of a stage, that a network may have."""
_MOST_KNOTS = 10_000
"""Points of a calibration curve; the shipped one has 27."""


@dataclass(frozen=True, eq=False, slots=True)
class DetectorConfig:
    """The checked config of a detector's card."""

    network: Mapping[str, Any]
    """Arguments of `vtrack.detectors.network.FaceNet`."""
    threshold: float
    """Score, 0 to 1, from which a face is reported."""
    raw: FloatArray
    """Scores of the network at the knots of the calibration curve."""
    share: FloatArray
    """Share of boxes with that score that were faces on the validation split."""

    @classmethod
    def of(cls, card: Card) -> DetectorConfig:
        """The config of a card.

        Raises:
            ModelError: The card is not a detector's, or a value cannot be.
        """
        if card.system != DETECTOR:
            raise ModelError(f"this is the card of a {card.system!r} model, not of a detector")
        network, curve = (_entry(card.config, name) for name in ("network", "calibration"))
        for name, count, limits in (("widths", len(STRIDES) + 1, WIDTHS), ("depths", len(STRIDES), DEPTHS)):
            if not _are_counts(network.get(name), count, limits):
                raise ModelError(f"network: {name} must be {count} whole numbers from {limits[0]} to {limits[1]}")
        if not _are_counts([network.get("neck")], 1, WIDTHS):
            raise ModelError(f"network: neck must be a whole number from {WIDTHS[0]} to {WIDTHS[1]}")
        if network.keys() != {"widths", "depths", "neck"}:
            raise ModelError("network: it has widths, depths and neck, nothing else")
        raw, share = (_shares(curve.get(name)) for name in ("score", "share"))
        if raw is None or share is None or len(raw) != len(share):
            raise ModelError("calibration: score and share must be equally many rising numbers from 0 to 1")
        threshold = _shares([card.config.get("threshold")])
        if threshold is None:
            raise ModelError("threshold must be a number from 0 to 1")
        return cls(network, float(threshold[0]), raw, share)


def read_config(path: Path) -> tuple[Card, DetectorConfig]:
    """The card of a detector and its config.

    Raises:
        ModelError: The file cannot be read, is not a detector's card, or a value cannot be.
    """
    card = read_card(path)
    try:
        return card, DetectorConfig.of(card)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _entry(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entry = config.get(name)
    if not isinstance(entry, Mapping):
        raise ModelError(f"the card has no {name}")
    return entry


def _are_counts(values: Any, count: int, limits: tuple[int, int]) -> bool:
    """Whether these are so many whole numbers within limits."""
    return (
        isinstance(values, Sequence)
        and len(values) == count
        and all(isinstance(value, int) and not isinstance(value, bool) for value in values)
        and all(limits[0] <= value <= limits[1] for value in values)
    )


def _shares(values: Any) -> FloatArray | None:
    """Numbers from 0 to 1 that do not fall, as an array; None if they are others."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not 1 <= len(values) <= _MOST_KNOTS:
        return None
    if not all(isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 for value in values):
        return None
    array = np.array(values, np.float64)
    return array if (np.diff(array) >= 0).all() else None
