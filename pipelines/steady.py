"""Steady points: the motion of the head and the motion of the parts on it, filtered each in its own way.

All lengths are in units of the face (the root mean square radius of its anchors, about 0.9 of the distance between the
outer corners of the eyes), so a setting means the same on a small face and a large one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filters.kalman import Groups, Kalman
from filters.one_euro import OneEuro
from filters.rigid import Body, ComplexArray, to_complex, to_plane
from filters.rts import FixedLag
from vtrack.errors import UsageError
from vtrack.types import FloatArray, Query

MODES = ("rts", "kalman", "one-euro", "none")

# How the constants were found: see the module's end of tests/pipelines/test_smooth.py (placeholder)
HEAD_DENSITY = 0.3
DENSITIES = {"eyes": 0.02, "lips": 0.02, "brows": 0.01, "pupils": 0.1, "nose": 0.002, "jaw": 0.004, "other": 0.01}
JITTER = 0.3
HEAD_JITTER = 0.15
SPEED = 0.5
CALM, HOLD, GATE, PATIENCE = 3.0, 0.06, 8.0, 2
LAG = 30
LEARN = 2.0
DECADES = 6.0
"""Powers of ten of process noise between strength 0 and 1; 0.5 is the default."""
CUTOFF, BETA = 1.0, 20.0


def group_of(part: str) -> str:
    """The kind of motion that a part has."""
    kinds = (
        ("pupils", ("pupil", "iris")),
        ("brows", ("brow",)),
        ("eyes", ("eye",)),
        ("lips", ("lip", "mouth")),
        ("nose", ("nose", "nostril")),
        ("jaw", ("jaw", "chin", "cheek", "hair", "ear", "neck")),
    )
    return next((kind for kind, words in kinds if any(word in part for word in words)), "other")


@dataclass(frozen=True)
class Settings:
    mode: str = "rts"
    strength: float = 0.5
    per_part: Mapping[str, float] = field(default_factory=dict)


class Steady:
    def __init__(self, query: Query, anchors: npt.NDArray[np.intp], settings: Settings, tracks: int = 1, order=2) -> None:
        kinds = [group_of(p) for p in query.parts]
        strength = [settings.per_part.get(k, settings.strength) for k in kinds]
        self.density = np.array([DENSITIES[k] * 10 ** (DECADES * (0.5 - s)) for k, s in zip(kinds, strength)])
        self.head_density = HEAD_DENSITY * 10 ** (DECADES * (0.5 - settings.strength))
        names = [("left_" if p.startswith("left_") else "right_" if p.startswith("right_") else "") + k for p, k in zip(query.parts, kinds)]
        unique = sorted(set(names))
        members = np.array([unique.index(n) for n in names] + [len(unique), len(unique) + 1])
        self.kalman = Kalman(tracks, len(query) + 2, order, groups=Groups(members, CALM, HOLD), gate=GATE, patience=PATIENCE)
        self.body = Body(tracks, anchors)
        self.lag = FixedLag(LAG if settings.mode == "rts" else 0)
        self.size = np.ones(tracks)
        self.level = np.ones(tracks)

    def step(self, points, sigma, dt):
        expected = np.where(self.kalman.alive[:, :-2], to_complex(self.kalman.mean[:, :-2, 0] + dt * self.kalman.mean[:, :-2, 1]), np.nan)
        parts, shift, turn = self.body.split(to_complex(points), JITTER * sigma * self.level[:, None], expected)
        self.size = np.where(np.isfinite(turn), np.abs(turn), self.size)
        z = np.concatenate([parts, shift[:, None], turn[:, None]], 1)
        size = self.size[:, None]
        sigma = sigma * self.level[:, None]
        head = HEAD_JITTER * np.sqrt(np.nanmean(sigma[:, self.body.anchors] ** 2, 1, keepdims=True))
        var = np.concatenate([(JITTER * sigma / size) ** 2, head**2, head**2], 1)
        q = np.concatenate([np.broadcast_to(self.density, sigma.shape), self.head_density * size**2, self.head_density * size**2], 1)
        spread = np.concatenate([np.full(sigma.shape, SPEED), SPEED * size, SPEED * size], 1)
        step = self.kalman.step(to_plane(z), var, q, dt, spread)
        y = np.square(to_plane(z)[:, :-2] - step.prior_mean[:, :-2, 0]).sum(-1) / 2
        e = y / (step.prior_covariance[:, :-2, 0, 0] + var[:, :-2])
        ok = step.continued[:, :-2] & np.isfinite(e)
        above = ((e > np.log(2)) & ok).sum(1) / np.maximum(ok.sum(1), 1)
        self.level *= np.exp(LEARN * dt * (above - 0.5) * ok.any(1)) 
        self.level = np.clip(self.level, .25, 4)
        return [self.join(s) for s in self.lag.push(step)]

    def flush(self):
        return [self.join(s) for s in self.lag.flush()]

    def join(self, s):
        z = to_complex(s.positions)
        return to_plane(z[:, -2, None] + z[:, -1, None] * z[:, :-2])
