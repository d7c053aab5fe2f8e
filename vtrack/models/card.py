"""Model cards: a JSON file beside the weights with the model's config, training and scores."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vtrack.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights"


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

    @property
    def reference(self) -> dict[str, Any]:
        """Reference to this model for outputs: name, system, input size, and a checksum of the card."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        size = self.config.get("input_size")
        return {"name": self.name, "system": self.system, "input_size": size, "card_sha256": digest}

    @property
    def errors(self) -> dict[str, float]:
        """The mean error on each data set's validation part, in % of the distance between the outer eye corners."""
        return {
            name: figures["nme_inter_ocular_percent"]
            for name, figures in self.scores.items()
            if "nme_inter_ocular_percent" in figures and not name.endswith("+middles")
        }

    def write(self, path: Path) -> None:
        """Save as JSON."""
        text = re.sub(r"\[\n[^\[\]{}]*\]", _one_line, json.dumps(asdict(self), indent=2))
        path.write_text(text + "\n", encoding="utf-8")


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
        content = json.loads(path.read_text(encoding="utf-8"))
        return Card(**content)
    except OSError as error:
        raise ModelError(f"{path}: the model card cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, TypeError) as error:
        raise ModelError(f"{path}: not a model card: {error}") from error
