"""Turns of photographed faces by a known angle, as the measures see them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from tests.conftest import LONDON
from tests.data.test_turning import located
from vtrack.data import load_dataset
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.pipelines.measures.face_fit import face_model
from vtrack.training.studies.heads import camera_errors
from vtrack.training.studies.turns import Turn, measure, table


def test_turns_of_photographs_are_found() -> None:
    portraits = load_dataset(f"frl189:{LONDON / 'labels.csv'}", "val")[:3]
    images = [portraits.image(i) for i in range(3)]
    encoded = {
        name: cv2.imencode(".png", image[..., ::-1])[1].tobytes() for name, image in zip("abc", images, strict=True)
    }
    boxes = portraits.layout.face_box(portraits.points)
    points = np.stack([located(image, boxes[i : i + 1]) for i, image in enumerate(images)])
    data = replace(
        portraits,
        layout=load_layout("300w"),
        files=tuple("abc"),
        points=points,
        groups=tuple("abc"),
        read=encoded.__getitem__,
        subsets={},
        boxes=None,
    )
    turns = measure(load_model("fast", device="cpu"), data)
    assert len(turns) == 3
    assert np.mean([turn.annotated for turn in turns]) < 6


def test_the_table_has_the_means_of_each_class() -> None:
    lines = table([Turn(32, 1, 3), Turn(40, 2, 5), Turn(70, 4, 8)]).splitlines()
    assert lines[2:] == ["| 30 to 45° | 2 | 1.5° | 4.0° |", "| 60 to 80° | 1 | 4.0° | 8.0° |"]


def test_persons_before_a_camera_are_found_with_their_uncertainty() -> None:
    model, rng = face_model(), np.random.default_rng(0)
    persons = model.mean + np.tensordot(rng.normal(size=(60, len(model.modes))) * 0.5, model.modes, 1)
    errors = camera_errors(persons, 20.0, (20.0, 45.0), rng)
    assert 0.2 < errors.turn < 4.5 and 0.2 < errors.known_turn < 4.5
    assert errors.turn_within > 0.6 and errors.place_within > 0.6
    assert errors.distance < 0.04
