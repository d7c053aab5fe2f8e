"""The study of `vtrack check`: degraded clips of known points, and a model of the error that ranks them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.conftest import LONDON
from vtrack.data import load_dataset
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.quality.error_model import error_model
from vtrack.pipelines.tables.quality.likeness import SIDE
from vtrack.pipelines.tables.quality.signals import SIGNALS
from vtrack.training.studies.quality.clips import FPS, LEVELS, make_clip
from vtrack.training.studies.quality.picture import mean_picture
from vtrack.training.studies.quality.seconds import Seconds, estimated, fit, models_without, report


@pytest.mark.parametrize(("kind", "frames"), [("compression", 100), ("dropped frames", 50)])
def test_a_clip_shows_the_photograph_where_its_points_say(tmp_path: Path, kind: str, frames: int) -> None:
    data = load_dataset(f"frl189:{LONDON / 'labels.csv'}", "val")
    image, points = data.image(0), data.points[0].astype(np.float64)
    truth = make_clip(image, points, kind, data.layout.unit(points[None])[0], 3, tmp_path / "clip.mp4")
    with open_source(tmp_path / "clip.mp4") as source:
        shown = list(source)
    assert len(shown) == len(truth) == frames and LEVELS * FPS == 100
    assert shown[-1].time == pytest.approx(3.96 if kind == "compression" else 3.8)
    # The first frame is clear: moved back by its points, it is the photograph.
    matrix, _ = cv2.estimateAffinePartial2D(truth[0], points)
    back = cv2.warpAffine(shown[0].image, matrix, image.shape[1::-1])
    face = cv2.boundingRect(points.astype(np.float32))
    inner = np.s_[face[1] : face[1] + face[3], face[0] : face[0] + face[2]]
    assert np.abs(back[inner].astype(float) - image[inner]).mean() < 8


def test_a_fitted_model_ranks_errors_by_what_a_table_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    error = np.exp(rng.normal(1.3, 0.5, 200))
    signals = error[:, None] ** rng.uniform(0.5, 1.5, len(SIGNALS)) * np.exp(rng.normal(0, 0.2, (200, len(SIGNALS))))
    signals[::3, list(SIGNALS).index("smoothing")] = np.nan
    person = np.repeat([f"person {i}" for i in range(20)], 10)
    seconds = Seconds(person, np.full(200, "blur"), error, signals)
    models = models_without(seconds)
    assert len(models) == 20 and models["person 0"].mean[0] != models["person 1"].mean[0]
    ranks = [
        spearmanr(estimated(models, seconds, names)[:, 0], error).statistic for names in (list(SIGNALS), ["sigma"])
    ]
    assert ranks[0] > 0.95 and ranks[0] > ranks[1] > 0.7
    assert "| blur | 200 |" in report(seconds)
    fit(seconds).save(tmp_path / "model.csv")
    assert (tmp_path / "model.csv").read_text().count("\n") == len(SIGNALS) + 2


def test_the_model_that_comes_with_the_project_knows_every_signal() -> None:
    model = error_model()
    assert len(model.mean) == len(SIGNALS) + 1 and np.isfinite(model.covariance).all()
    assert (model.limit > model.floor).all() and (np.linalg.eigvalsh(model.covariance) > 0).all()


def test_the_mean_picture_has_dark_eyes_where_they_are() -> None:
    picture = mean_picture(load_dataset(f"frl189:{LONDON / 'labels.csv'}")).astype(float)
    assert picture.shape == (SIDE, SIDE)
    eyes, cheeks = picture[15:18, 18:26].mean(), picture[24:28, 18:26].mean()
    assert eyes < cheeks - 40
