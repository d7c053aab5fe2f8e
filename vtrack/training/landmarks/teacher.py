"""Distillation: labels moved towards the predictions of a trained model.

Labels of a point vary more from photograph to photograph than the point itself; the predictions of a better model vary less.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vtrack.data.store import STORED_SIDE, FaceStore, plain_batches
from vtrack.errors import UsageError
from vtrack.models import load_model


def with_teacher(store: FaceStore, name: str, share: float, device: str = "cpu") -> FaceStore:
    """Move labels towards a model's predictions; missing labels stay missing.

    The teacher predicts undisturbed faces at its own input size.

    Args:
        store: Faces of a data set.
        name: A shipped model, or the .json of your own.
        share: How far to move, 0 (not at all) to 1 (to the prediction).
        device: Device of the teacher.

    Raises:
        UsageError: The share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise UsageError(f"--teacher-share must be above 0 and at most 1, not {share}")
    model = load_model(name, device=device)
    predictions = [
        (crops.to_frame(model.predict(images, store.layout.query).points) + 0.5) / STORED_SIDE
        for images, _, crops in plain_batches(store, model.input_size, model.margin, 64)
    ]
    moves = np.concatenate(predictions) - store.points
    return replace(store, points=(store.points + share * moves).astype(np.float32))
