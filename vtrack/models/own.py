"""Checks of user-defined landmark models and of what they return."""

from __future__ import annotations

from typing import Any

from vtrack.errors import UsageError
from vtrack.types import LandmarkModel, Prediction, Query


def own_model(model: Any) -> LandmarkModel:
    """Check that a user-defined landmark model has what the pipeline needs, and return it.

    Raises:
        UsageError: It does not implement `LandmarkModel`, or lacks the size or margin of its crops.
    """
    if isinstance(model, type):
        raise UsageError(f"model is the class {model.__name__}; give an object of it: {model.__name__}()")
    name = type(model).__name__
    if not callable(getattr(model, "predict", None)):
        raise UsageError(
            f"model must be a name, the path of a model's card or a vtrack.LandmarkModel, which has predict(); got {name}"
        )
    if not hasattr(model, "name"):
        raise UsageError(f"the model {name} lacks a name; derive it from vtrack.LandmarkModel")
    for what, kind in (("input_size", int), ("margin", int | float)):
        value = getattr(model, what, None)
        if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
            meaning = "the side of its crops in pixels" if what == "input_size" else "the side of a crop in face boxes"
            raise UsageError(f"the model {name} needs {what}, {meaning}, got {value!r}")
    return model


def check_prediction(model: LandmarkModel, returned: Any, crops: int, query: Query) -> Prediction:
    """Return a user-defined model's result; raises `UsageError` unless it is a `Prediction` for these crops and this query."""
    if not isinstance(returned, Prediction):
        raise UsageError(f"{model.name}.predict returned a {type(returned).__name__}; expected a vtrack.Prediction")
    if tuple(returned.points.shape[:2]) != (crops, len(query)):
        raise UsageError(
            f"{model.name}.predict returned points of shape {tuple(returned.points.shape)}; "
            f"expected ({crops}, {len(query)}, 2): {crops} crops, {len(query)} points of the query"
        )
    return returned
