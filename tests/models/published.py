"""Names and shapes of published state dicts, written down from their families' naming, not from our networks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

Shape = tuple[int, ...]


def tensors(shapes: dict[str, Shape]) -> dict[str, Tensor]:
    """A random tensor for each."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) * 0.02 for name, shape in shapes.items()}


def _norm(name: str, width: int) -> dict[str, Shape]:
    stats = {f"{name}.{kind}": (width,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return stats | {f"{name}.num_batches_tracked": ()}


def _conv(name: str, outside: int, inside: int, size: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outside, inside, size, size)}


def _basic(name: str, inside: int, width: int) -> dict[str, Shape]:
    shapes = _conv(f"{name}.conv1", width, inside, 3) | _norm(f"{name}.bn1", width)
    shapes |= _conv(f"{name}.conv2", width, width, 3) | _norm(f"{name}.bn2", width)
    if inside != width:
        shapes |= _conv(f"{name}.downsample.0", width, inside, 1) | _norm(f"{name}.downsample.1", width)
    return shapes


def _bottleneck(name: str, inside: int, width: int) -> dict[str, Shape]:
    shapes = _conv(f"{name}.conv1", width, inside, 1) | _norm(f"{name}.bn1", width)
    shapes |= _conv(f"{name}.conv2", width, width, 3) | _norm(f"{name}.bn2", width)
    shapes |= _conv(f"{name}.conv3", width * 4, width, 1) | _norm(f"{name}.bn3", width * 4)
    if inside != width * 4:
        shapes |= _conv(f"{name}.downsample.0", width * 4, inside, 1) | _norm(f"{name}.downsample.1", width * 4)
    return shapes


def resnet(depths: tuple[int, ...], wide: bool) -> dict[str, Shape]:
    """torchvision's ResNets, with their classifier."""
    shapes = _conv("conv1", 64, 3, 7) | _norm("bn1", 64)
    inside = 64
    for level, depth in enumerate(depths, 1):
        width = 32 << level
        for place in range(depth):
            shapes |= (_bottleneck if wide else _basic)(f"layer{level}.{place}", inside, width)
            inside = width * 4 if wide else width
    return shapes | {"fc.weight": (1000, inside), "fc.bias": (1000,)}


def _fusions(name: str, widths: list[int], targets: int) -> Iterator[dict[str, Shape]]:
    for target in range(targets):
        for source in range(len(widths)):
            fuse = f"{name}.fuse_layers.{target}.{source}"
            if source > target:
                yield _conv(f"{fuse}.0", widths[target], widths[source], 1) | _norm(f"{fuse}.1", widths[target])
            for step in range(target - source):
                width = widths[target] if step == target - source - 1 else widths[source]
                yield _conv(f"{fuse}.{step}.0", width, widths[source], 3) | _norm(f"{fuse}.{step}.1", width)


def hrnet(width: int, kind: str) -> dict[str, Shape]:
    """`timm` with classification heads, or `pose` with one map out of the last stage."""
    shapes = _conv("conv1", 64, 3, 3) | _norm("bn1", 64) | _conv("conv2", 64, 64, 3) | _norm("bn2", 64)
    for place in range(4):
        shapes |= _bottleneck(f"layer1.{place}", 64 if place == 0 else 256, 64)
    shapes |= _conv("transition1.0.0", width, 256, 3) | _norm("transition1.0.1", width)
    shapes |= _conv("transition1.1.0.0", width * 2, 256, 3) | _norm("transition1.1.0.1", width * 2)
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        widths = [width << branch for branch in range(stage)]
        if stage > 2:
            last = f"transition{stage - 1}.{stage - 1}.0"
            shapes |= _conv(f"{last}.0", widths[-1], widths[-2], 3) | _norm(f"{last}.1", widths[-1])
        for module in range(modules):
            name = f"stage{stage}.{module}"
            for branch, inside in enumerate(widths):
                for block in range(4):
                    shapes |= _basic(f"{name}.branches.{branch}.{block}", inside, inside)
            single = kind == "pose" and (stage, module) == (4, 2)
            for fusion in _fusions(name, widths, 1 if single else stage):
                shapes |= fusion
    if kind == "pose":
        return shapes | {"final_layer.weight": (17, width, 1, 1), "final_layer.bias": (17,)}
    return shapes | _conv("incre_modules.0.0.conv1", 32, width, 1) | {"classifier.weight": (1000, 2048)}


def vit(grid: int = 14) -> dict[str, Shape]:
    """timm's ViT-B/16."""
    shapes: dict[str, Shape] = {"cls_token": (1, 1, 768), "pos_embed": (1, 1 + grid * grid, 768)}
    shapes |= {"patch_embed.proj.weight": (768, 3, 16, 16), "patch_embed.proj.bias": (768,)}
    linear = {"attn.qkv": (2304, 768), "attn.proj": (768, 768), "mlp.fc1": (3072, 768), "mlp.fc2": (768, 3072)}
    for block in range(12):
        for name, shape in linear.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.weight": (768,), f"blocks.{block}.{norm}.bias": (768,)}
    shapes |= {"norm.weight": (768,), "norm.bias": (768,)}
    return shapes | {"head.weight": (1000, 768), "head.bias": (1000,)}


def clip() -> dict[str, Shape]:
    """CLIP's ViT-B/16 with its text encoder's first tensors, as FaRL publishes it."""
    shapes: dict[str, Shape] = {
        "positional_embedding": (77, 512),
        "logit_scale": (),
        "token_embedding.weight": (9, 512),
    }
    shapes |= {"visual.class_embedding": (768,), "visual.positional_embedding": (197, 768)}
    shapes |= {"visual.conv1.weight": (768, 3, 16, 16), "visual.proj": (768, 512)}
    for norm in ("ln_pre", "ln_post"):
        shapes |= {f"visual.{norm}.weight": (768,), f"visual.{norm}.bias": (768,)}
    for place in range(12):
        block = f"visual.transformer.resblocks.{place}"
        shapes |= {f"{block}.attn.in_proj_weight": (2304, 768), f"{block}.attn.in_proj_bias": (2304,)}
        linear = {"attn.out_proj": (768, 768), "mlp.c_fc": (3072, 768), "mlp.c_proj": (768, 3072)}
        for name, shape in linear.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}.{norm}.weight": (768,), f"{block}.{norm}.bias": (768,)}
    return shapes
