"""Everything that decides how a training run goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vtrack.errors import UsageError
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.training.landmarks.augment import Augmentation


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a run goes."""

    data: tuple[str, ...]
    """`name:path` of each data set."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """How often a data set is drawn, over the others; 1 where not given, so that all are seen alike (paper 000, A.9)."""
    trust: Mapping[str, float] = field(default_factory=dict)
    """Weight of a data set's labels in the loss; 1 where not given."""
    first_pixel: Mapping[str, float] = field(default_factory=dict)
    """What a data set's labels call the centre of the first pixel, 0 where not given: 1 where they count from 1, 0.5 where they
    count from the corner. Mirror images need it; the model learns each set's labels as they are."""
    hold_out: tuple[str, ...] = ()
    """Data sets of which every second point of a part is never learned, to see how well points are known that no label told."""
    model: Any = field(default_factory=UdfldConfig)
    """The config of any system; its class says which."""
    init: str = ""
    """A file of published weights for the backbone to start from."""
    start: str = ""
    """Another run's checkpoint or the weights of a published model, which are taken where names and shapes fit; those of
    a backbone half as wide, or a third, are spread over the wider one, which computes the same."""
    only: tuple[str, ...] = ()
    """Beginnings of the names of the weights that are learned, `sigma_head` for example; all others stay as `start` has them.
    None: all are learned."""
    teacher: str = ""
    """A shipped model, or the .json of another, that is learned from beside the labels."""
    teacher_share: float = 0.5
    """How much of what is learned is the teacher's."""
    gaps: float = 0.0
    """Weight of the distances from lid to lid and lip to lip, beside the points' own; by udfld alone."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    steps: int = 20_000
    batch: int = 32
    most_points: int = 68
    """At most this many points of a face are asked for in one step, by systems that learn from any points."""
    rate: float = 1e-3
    decay: float = 0.05
    average: float = 0.999
    """Of the running mean of the weights, which is what is kept."""
    seed: int = 0
    every: int = 1000
    """Steps between validations and checkpoints."""
    threads: int = 1
    device: str = "cpu"
    loaders: int = 0
    """Processes that make batches, for a GPU; with 0 a thread does."""
    in_memory: bool = False
    """Read all cut faces into memory at the start (0.3 MB each) instead of mapping their file."""

    def check_names(self, names: Sequence[str]) -> None:
        """Raise if something is said of a data set that is not among these."""
        for what in ("shares", "trust", "first_pixel", "hold_out"):
            for name in getattr(self, what):
                if name not in names:
                    raise UsageError(
                        f"{what.replace('_', ' ')}: there is no data set {name!r} here, only {', '.join(names)}"
                    )
