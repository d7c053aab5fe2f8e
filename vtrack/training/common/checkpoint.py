"""Checkpoints of a run: one safetensors file with the rest of the state as JSON in its metadata, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vtrack.errors import ModelError
from vtrack.models.card import read_card
from vtrack.models.checksums import check_weights


def save_run(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON state as one file; an interrupted write leaves the file before it."""
    part = path.with_name(f".{path.name}.part")
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not by `save_file`, which lets nobody but the owner read the file, whatever the umask.
    part.write_bytes(save(whole, metadata={"state": json.dumps(state)}))
    part.replace(path)


def load_run(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and state of a file that `save_run` wrote.

    Raises:
        ModelError: The file cannot be read or is no checkpoint.
    """
    tensors, metadata = _read(path, "not a readable checkpoint")
    if "state" not in metadata:
        raise ModelError(f"{path}: has weights but no training state, so a run cannot be resumed from it")
    return tensors, json.loads(metadata["state"])


def load_weights(path: Path) -> dict[str, Tensor]:
    """The running mean of a run, or the weights of a published model, whose card has their checksum."""
    check_weights(path)
    tensors, metadata = _read(path, "the weights cannot be read")
    return without_prefix("mean", tensors) if "state" in metadata else tensors


def whole_recipe(state: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a run with the number of steps done, and in `before` the recipe of the run it started from."""
    return {**state["recipe"], "steps_done": state["step"], "before": state.get("before")}


def recipe_of(path: Path) -> dict[str, Any] | None:
    """The recipe of a checkpoint, or of published weights by the card beside them; None if there is none."""
    metadata = _metadata(path, "the weights cannot be read")
    if "state" in metadata:
        return whole_recipe(json.loads(metadata["state"]))
    card = path.with_suffix(".json")
    return dict(read_card(card).recipe) if card.exists() else None


def _read(path: Path, fault: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file; `fault` is the start of the error message."""
    metadata = _metadata(path, fault)
    try:
        return load_file(path), metadata
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: {fault}: {error}") from error


def _metadata(path: Path, fault: str) -> dict[str, str]:
    """Metadata of a file, without reading its tensors."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: {fault}: {error}") from error


def optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments, named after their parameters."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{key}.{name}"] = torch.as_tensor(value)
    return tensors


def restore_optimiser(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The opposite of `optimiser_tensors`."""
    for name, parameter in model.named_parameters():
        keys = ("step", "exp_avg", "exp_avg_sq")
        found = {key: tensors[f"optimiser.{key}.{name}"] for key in keys if f"optimiser.{key}.{name}" in tensors}
        if found:
            optimiser.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in found.items()
            }


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every name with a prefix before it."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those names that start with the prefix, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
