"""Face-seconds of known error: what `vtrack check` tells of them, and the model of the error that is fitted to them."""

from __future__ import annotations

import csv
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from vtrack.data.dataset import Dataset
from vtrack.layouts import Layout
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.run import run
from vtrack.pipelines.tables.quality.check import check_table
from vtrack.pipelines.tables.quality.error_model import ErrorModel
from vtrack.pipelines.tables.quality.signals import SIGNALS
from vtrack.query import parse_query
from vtrack.training.studies.markdown import markdown
from vtrack.training.studies.quality.clips import KINDS, DegradedClip, make_clip
from vtrack.types import BoolArray, Detector, FloatArray, LandmarkModel

log = logging.getLogger(__name__)

KINDS_OF_A_PERSON = 3
ACCURATE = 5.0
"""Error in % up to which a face-second counts as accurate, for the limits of signals."""
_FLOOR, _LIMIT = 0.1, 0.95
"""Quantiles of the signals of accurate face-seconds: what is believed at least, and from where on a signal is a reason."""
_LEAST = 1e-3
"""Least floor of a signal, whose logarithm is taken."""
_RIDGE = 0.1
"""Share of the variance of each signal that is added to it: other clips differ from those of the fit."""
_WITNESSES = {
    "table and video": tuple(SIGNALS),
    "table with the columns raw": tuple(name for name in SIGNALS if name not in ("flow", "lost")),
    "table": tuple(name for name in SIGNALS if name not in ("smoothing", "flow", "lost")),
    "table of another program (no sigma) and video": tuple(
        name for name in SIGNALS if name not in ("sigma", "smoothing", "iris")
    ),
    "sigma alone": ("sigma",),
    "flow alone": ("flow", "lost"),
}
"""What a table may have, and the signals that it gives."""


@dataclass(frozen=True, eq=False, slots=True)
class Seconds:
    """Face-seconds whose true error is known."""

    person: np.ndarray
    """(seconds,) names."""
    kind: np.ndarray
    error: FloatArray
    """(seconds,) % of the distance between the outer corners of the eyes."""
    signals: FloatArray
    """(seconds, signals)"""

    def __getitem__(self, chosen: BoolArray) -> Seconds:
        return Seconds(*(getattr(self, name)[chosen] for name in ("person", "kind", "error", "signals")))


def make_clips(
    data: Dataset, folder: Path, people: int, model: LandmarkModel, detector: Detector, seed: int = 0
) -> Iterator[DegradedClip]:
    """Film and track people; the table of a clip lies beside it.

    Args:
        data: Photographs of faces.
        folder: Where clips, true points and tables are written; those that are there are taken as they are.
        people: Number of photographs, drawn at random.
        model: The landmark model.
        detector: The detector.
        seed: Seed of the choice.
    """
    names, query = list(KINDS), data.layout.query + parse_query("irises")
    for number, place in enumerate(np.random.default_rng(seed).permutation(len(data))[:people].tolist()):
        for i in range(KINDS_OF_A_PERSON):
            kind = names[(KINDS_OF_A_PERSON * number + i) % len(names)]
            path = folder / f"{number:03}-{kind.replace(' ', '-')}.mp4"
            if not (stored := path.with_suffix(".npz")).exists():
                image, points = data.image(place), data.points[place].astype(np.float64)
                truth = make_clip(image, points, kind, data.layout.unit(points[None])[0], number, path)
                table = path.with_suffix(".csv")
                run(str(path), query, csv=table, columns=("raw",), overwrite=True, model=model, detector=detector)
                np.savez_compressed(stored, truth=truth)
                log.info(path.stem)
            with np.load(stored) as arrays:
                yield DegradedClip(path, data.groups[place], kind, arrays["truth"])


def check_clip(clip: DegradedClip, layout: Layout) -> Iterator[dict[str, object]]:
    """Yield the true error and the signals of each face and second of a clip that was tracked."""
    table, checked = clip.path.with_suffix(".csv"), clip.path.with_suffix(".quality.csv")
    unit, marked = layout.unit(clip.truth), clip.truth.shape[1]
    errors: dict[tuple[int, int], list[float]] = defaultdict(list)
    for result in TableResults(table):
        for face in result.faces:
            off = np.linalg.norm(face.points[:marked] - clip.truth[result.index], axis=-1).mean()
            errors[floor(result.time), face.id].append(100 * float(off / unit[result.index]))
    check_table(table, str(clip.path), csv=checked, overwrite=True)
    with checked.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            error = np.mean(errors[int(row["start_s"]), int(row["face"])])
            yield {"person": clip.person, "kind": clip.kind, **row, "error": error}


def seconds_of(rows: Sequence[dict[str, object]]) -> Seconds:
    """Face-seconds as arrays."""
    person, kind = (np.array([str(row[name]) for row in rows]) for name in ("person", "kind"))
    error = np.array([float(str(row["error"])) for row in rows])
    signals = np.array([[float(str(row[name]) or "nan") for name in SIGNALS] for row in rows])
    return Seconds(person, kind, error, signals)


def fit(seconds: Seconds) -> ErrorModel:
    """Fit the model of the error."""
    lowest, limit = np.nanquantile(seconds.signals[seconds.error < ACCURATE], [_FLOOR, _LIMIT], axis=0)
    lowest = np.maximum(lowest, _LEAST)
    logs = np.log(np.column_stack([seconds.error, np.maximum(seconds.signals, lowest)]))
    mean = np.nanmean(logs, 0)
    covariance = np.cov(np.where(np.isnan(logs), mean, logs).T)
    covariance[1:, 1:] += _RIDGE * np.diag(np.diag(covariance)[1:])
    return ErrorModel(mean, covariance, lowest, limit)


def models_without(seconds: Seconds) -> dict[str, ErrorModel]:
    """For each person the model that is fitted to all others."""
    return {person: fit(seconds[seconds.person != person]) for person in np.unique(seconds.person).tolist()}


def estimated(models: Mapping[str, ErrorModel], seconds: Seconds, names: Sequence[str] = tuple(SIGNALS)) -> FloatArray:
    """(seconds, 3) error, lower and upper bound, if tables have the named signals alone.

    Args:
        models: What `models_without` gives.
        seconds: The face-seconds.
        names: The signals.
    """
    signals = np.where(np.isin(list(SIGNALS), names), seconds.signals, np.nan)
    return np.array(
        [models[person].estimate(row) for person, row in zip(seconds.person.tolist(), signals, strict=True)]
    )


def report(seconds: Seconds) -> str:
    """How well errors are told of people whom the model of the error does not know, as Markdown."""
    models = models_without(seconds)
    error, low, high = estimated(models, seconds).T
    inside = float(((seconds.error >= low) & (seconds.error <= high)).mean())
    factor = float(np.exp(np.median(np.abs(np.log(error / seconds.error)))))

    def rank(chosen: Seconds, names: Sequence[str]) -> str:
        return f"{spearmanr(estimated(models, chosen, names)[:, 0], chosen.error).statistic:.2f}"

    rows = {kind: seconds[seconds.kind == kind] for kind in KINDS if (seconds.kind == kind).any()} | {"all": seconds}
    cells = {
        kind: {
            "face-seconds": str(len(chosen.error)),
            "median error": f"{np.median(chosen.error):.1f} %",
            **{head: rank(chosen, names) for head, names in _WITNESSES.items()},
        }
        for kind, chosen in rows.items()
    }
    singles = {name: {"rank correlation": rank(seconds, [name])} for name in SIGNALS}
    return (
        f"{len(error)} face-seconds of {len(models)} people; {100 * inside:.0f} % of errors within the bounds; estimates are "
        f"off by a factor of {factor:.2f} (median)\n\n"
        + markdown("degraded by", ["face-seconds", "median error", *_WITNESSES], cells)
        + "\n"
        + markdown("signal alone", ["rank correlation"], singles)
    )
