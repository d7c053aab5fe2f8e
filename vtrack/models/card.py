"""Model cards: a JSON file beside each set of weights that says what they are, how they were made and how good they are."""

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
    """What is known of one set of weights."""

    name: str
    system: str
    """Which model class the weights belong to, `udfld` for example."""
    summary: str
    config: Mapping[str, Any]
    """Arguments of that class's config."""
    sigma_scale: float = 1.0
    """Calibration: what the network calls its spread, times this, holds 68 % of coordinate errors on the validation part."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    """Each data set trained on, and its terms."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    taught: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    """Where its data mark points along each part, see `vtrack.models.decoding.interpolation`."""

    @property
    def reference(self) -> dict[str, Any]:
        """What outputs say of the model that made them: enough to tell it from every other, and to find its card."""
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
    """A list without the line breaks between its items; within a string there are none."""
    return f"[{' '.join(line.strip() for line in found[0][1:-1].splitlines() if line.strip())}]"


def shipped() -> tuple[str, ...]:
    """Names of the landmark models that come with the package."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.json")))


def read_card(path: Path) -> Card:
    """The card in a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Card(**content)
    except OSError as error:
        raise ModelError(f"{path}: the model card cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, TypeError) as error:
        raise ModelError(f"{path}: not a model card: {error}") from error
