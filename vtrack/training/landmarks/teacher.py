"""A model that is trained already, whose answers a new one learns from beside the labels.

Labels of one point differ from photograph to photograph by more than the point does; what a better model says of it is calmer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vtrack.data.store import STORED_SIDE, Store, plain_batches
from vtrack.errors import UsageError
from vtrack.models import load_model


def taught(store: Store, name: str, share: float, device: str = "cpu") -> Store:
    """The store with each label moved by `share` of the way to what a model says; missing ones stay missing.

    `name` is a shipped model, or the .json of another. It sees every face undisturbed and as large as it likes, which a small
    model that learns from it does not.
    """
    if not 0 < share <= 1:
        raise UsageError(f"the teacher's share must lie in 0..1, more than 0, not {share}")
    model = load_model(name, device=device)
    told = [
        (crops.to_frame(model.predict(images, store.layout.query).points) + 0.5) / STORED_SIDE
        for images, _, crops in plain_batches(store, model.input_size, model.margin, 64)
    ]
    moves = np.concatenate(told) - store.points
    return replace(store, points=(store.points + share * moves).astype(np.float32))
