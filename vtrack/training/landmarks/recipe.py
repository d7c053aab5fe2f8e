"""The recipe of a training run: all options that decide its result, with their defaults. Light to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vtrack.errors import UsageError
from vtrack.models.systems.registry import make_config
from vtrack.training.common.schedule import parse_schedule

SYSTEM = "udfld"
"""The system that is trained unless another is named."""


@dataclass(frozen=True)
class Augmentation:
    """Strength of the augmentation.

    Small networks need little: with about twice as much, the error on `w68` was 5.6 instead of 4.5 % after 40,000 crops.
    """

    angle: float = 18.0
    """Standard deviation of the rotation in degrees, clipped at twice that."""
    scale: float = 0.12
    """Standard deviation of the logarithm of the box's size, clipped at 2.2 times that."""
    shift: float = 0.06
    """Standard deviation of the box's displacement, in box sides, clipped at 2.5 times that."""
    flip: bool = True
    """Whether half of the crops are mirrored."""
    picture: float = 0.4
    """Strength of lighting, blur, noise and occlusion; 0 for none."""
    shut: float = 0.0
    """Probability that eyes are closed by a warp, on faces of the 68-point layout."""
    occlude: float = 0.0
    """Probability that things are drawn in front of a face, of which is known which points they hide; see
    `vtrack.data.occluders`. They replace the patches of `picture`."""


def _default_config() -> Any:
    return make_config(SYSTEM, {})


@dataclass(frozen=True)
class TrainingRecipe:
    """All options of a training run."""

    data: tuple[str, ...]
    """`name:path` of each data set."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Relative frequency of a data set; 1 if not given, so that all are drawn equally often (the UDFLD paper, A.9)."""
    trust: Mapping[str, float] = field(default_factory=dict)
    """Weight of a data set's labels in the loss; 1 if not given."""
    first_pixel: Mapping[str, float] = field(default_factory=dict)
    """Coordinate that a data set's labels give the centre of the first pixel, 0 if not given: 1 if they count from 1, 0.5 if
    they count from the corner. Mirror images need it; otherwise labels are used as they are."""
    hold_out: tuple[str, ...] = ()
    """Data sets whose every second point of a part is left out of training, to measure interpolation."""
    model: Any = field(default_factory=_default_config)
    """Config of the system to train, that of `SYSTEM` unless given."""
    init: str = ""
    """File of published weights for the backbone."""
    start: str = ""
    """Checkpoint of another run, or weights of a published model, to start from. Tensors are used if name and shape fit; those
    of a backbone half as wide, or a third, are widened."""
    only: tuple[str, ...] = ()
    """Prefixes of the names of the weights to train, `sigma_head` for example; all others stay as in `start`. Empty: all."""
    teacher: str = ""
    """A shipped model, or the .json of your own, whose predictions are learned beside the labels."""
    teacher_share: float = 0.5
    """How far labels are moved to the teacher's predictions, 0 to 1."""
    labels_only: tuple[str, ...] = ()
    """Data sets that are learned from their labels alone, without the teacher: those that it knows worse."""
    gaps: float = 0.0
    """Weight of the loss of the distances from lid to lid and lip to lip; udfld only."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    steps: int = 20_000
    batch: int = 32
    most_points: int = 68
    """Largest number of points of a face in one step, for systems that learn from any points."""
    rate: float = 1e-3
    """The highest learning rate."""
    schedule: str = "cosine"
    """How the rate falls from there, see `vtrack.training.common.schedule`."""
    decay: float = 0.05
    average: float = 0.999
    """Decay of the running mean of the weights, which is what is evaluated and published."""
    seed: int = 0
    every: int = 1000
    """Steps between validations and checkpoints."""
    threads: int = 1
    device: str = "cpu"
    loaders: int = 0
    """Processes that make batches; 0 for a thread."""
    in_memory: bool = False
    """Read all cropped faces into memory at the start (0.3 MB each) instead of mapping their file."""

    def __post_init__(self) -> None:
        parse_schedule(self.schedule)

    def check_names(self, names: Sequence[str]) -> None:
        """Raise `UsageError` if an option names a data set that is not among these."""
        for what in ("shares", "trust", "first_pixel", "hold_out", "labels_only"):
            for name in getattr(self, what):
                if name not in names:
                    raise UsageError(
                        f"{what.replace('_', ' ')}: there is no data set {name!r} here, only {', '.join(names)}"
                    )
