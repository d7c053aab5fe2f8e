"""Loads torch networks from cards and weights, and saves their weights."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vtrack.errors import ModelError, UsageError
from vtrack.models.card import Card
from vtrack.models.checksums import check_file
from vtrack.models.systems.registry import build_system, make_config


def build_network(card: Card) -> nn.Module:
    """A new network of the card's system and config, with random weights.

    Raises:
        ModelError: The card's system or config does not exist.
    """
    try:
        return build_system(card.system, make_config(card.system, card.config))
    except (ModelError, UsageError) as error:
        raise ModelError(f"{card.name}: {error}") from error


def load_network(card: Card, weights: Path) -> nn.Module:
    """The network of a card with the weights of a safetensors file.

    Raises:
        ModelError: The file cannot be read, belongs to another model, or is not the one that the card has the checksum of.
    """
    check_file(card, weights)
    network = build_network(card)
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{weights}: the weights cannot be read: {error}") from error
    expected = network.state_dict()
    wrong = [name for name in expected if name not in tensors or tensors[name].shape != expected[name].shape]
    if wrong or len(tensors) != len(expected):
        named = wrong[0] if wrong else next(name for name in tensors if name not in expected)
        raise ModelError(f"{weights}: these are weights of another model ({named} does not fit {card.system})")
    network.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()})
    return network.eval()


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the weights in half precision, which halves the file and moves points by far less than their standard deviation.

    Batch norms are folded into the convolutions before them first, so that the ONNX graph has exactly the same tensors and can
    read them from this file.
    """
    network = fold_norms(copy.deepcopy(network))
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    # Not by `save_file`, which lets nobody but the owner read the file, whatever the umask.
    path.write_bytes(save(tensors))


@torch.no_grad()
def fold_norms(network: nn.Module) -> nn.Module:
    """Fold each batch norm into the convolution registered right before it; the norm keeps a bias only."""
    conv: nn.Conv2d | None = None
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and conv is not None:
            assert module.running_mean is not None and module.running_var is not None
            scale = module.weight / (module.running_var + module.eps).sqrt()
            conv.weight.mul_(scale[:, None, None, None])
            module.bias.sub_(module.running_mean * scale)
            module.weight.fill_(1.0)
            module.running_mean.zero_()
            module.running_var.fill_(1.0 - module.eps)
        conv = module if isinstance(module, nn.Conv2d) and module.bias is None else None
    return network


@torch.no_grad()
def unfold_norms(network: nn.Module, *inputs: Tensor) -> None:
    """Undo `fold_norms` with statistics of these inputs: the network computes the same and can be trained further.

    Training normalises each batch, which would change the output of a folded norm at once. So each norm gets the mean and
    the variance of its inputs, and a weight and bias that cancel them.
    """
    folded = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and _is_folded(module)]
    if not folded:
        return
    statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def record(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        statistics[norm] = torch.var_mean(inputs[0], (0, 2, 3), correction=0)

    hooks = [norm.register_forward_pre_hook(record) for norm in folded]
    training = network.training
    network.eval()(*inputs)
    network.train(training)
    for hook in hooks:
        hook.remove()
    for norm in [norm for norm in folded if norm in statistics]:
        variance, mean = statistics[norm]
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)


def _is_folded(norm: nn.BatchNorm2d) -> bool:
    """Whether a trained norm has been folded: mean 0 and weight 1."""
    assert norm.running_mean is not None and norm.num_batches_tracked is not None
    return bool(norm.num_batches_tracked > 0 and (norm.running_mean == 0).all() and (norm.weight == 1).all())
