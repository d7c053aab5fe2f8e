"""Backbones: their maps, their sizes, and published weights that start them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from tests.models import published
from vtrack.errors import ModelError
from vtrack.models.backbones.pretrained import init_backbone
from vtrack.models.backbones.registry import FeaturePyramid, build_backbone, normalise


def millions(name: str, without: tuple[str, ...] = ("-",), levels: int = 4) -> float:
    network = build_backbone(name, levels=levels)
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith(without)) / 1e6


@pytest.mark.parametrize("name", ["resnet18-half", "resnet50", "hrnet-w18", "hourglass4", "vit-b16-clip"])
def test_maps_have_the_sizes_they_claim(name: str) -> None:
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 128, 128))
        pyramid = FeaturePyramid(backbone.channels, 24)(maps)
    sizes = [
        (channels, 128 // stride, 128 // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert [tuple(x.shape[1:]) for x in maps] == sizes
    assert backbone.strides == (4, 8, 16, 32)
    assert [x.shape[1] for x in pyramid] == [24] * 4


@pytest.mark.parametrize("name", ["resnet18-half", "hrnet-w18", "hourglass"])
@pytest.mark.parametrize("stride", [4, 8, 16, 32, 64])
def test_early_downsampling(name: str, stride: int) -> None:
    backbone = build_backbone(name, stride=stride).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 256, 256))
    # Branches of HRNet and maps of hourglasses never get smaller than one cell.
    assert [x.shape[2] for x in maps] == [max(256 // s, 1) for s in backbone.strides]


def test_fewer_levels_leave_out_what_only_they_need() -> None:
    assert build_backbone("resnet50", levels=2).channels == (256, 512)
    assert build_backbone("hrnet-w18", levels=3).channels == (18, 36, 72)
    assert millions("resnet50", levels=2) < 1.5


@pytest.mark.parametrize(
    ("name", "count"), [("resnet18", 11.18), ("resnet34", 21.28), ("resnet50", 23.51), ("resnet101", 42.50)]
)
def test_resnets_have_the_published_number_of_parameters(name: str, count: float) -> None:
    assert millions(name) == pytest.approx(count, abs=0.005)


@pytest.mark.parametrize(("width", "count"), [(32, 28.54), (48, 63.60)])
def test_hrnets_have_the_published_number_of_parameters(width: int, count: float) -> None:
    # The published figures are of the pose networks: one map out of the last stage, and a layer to 17 heatmaps.
    coarse = tuple(f"stage4.2.fuse_layers.{branch}." for branch in (1, 2, 3))
    assert millions(f"hrnet-w{width}", coarse) + 17 * (width + 1) / 1e6 == pytest.approx(count, abs=0.01)


def test_hourglasses_have_the_published_number_of_parameters() -> None:
    """Eight of the pose networks have 25.59 million and two 6.73, with heads to 16 heatmaps and back after each."""
    heads = (256 * 16 + 16 + 16 * 256 + 256) / 1e6
    each = (millions("hourglass4") - millions("hourglass")) / 3
    assert each + heads == pytest.approx((25.59 - 6.73) / 6, abs=0.005)
    assert build_backbone("hourglass", levels=3).channels == (256, 256, 256)


def test_vit_has_the_published_number_of_parameters() -> None:
    assert millions("vit-b16", ("ladder.",)) == pytest.approx(85.80, abs=0.005)


def test_vit_takes_pictures_of_other_sizes() -> None:
    backbone = build_backbone("vit-b16").eval()
    with torch.no_grad():
        assert [x.shape[2] for x in backbone(torch.zeros(1, 3, 96, 96))] == [24, 12, 6, 3]


FILES = {
    "resnet18": published.resnet((2, 2, 2, 2), wide=False),
    "resnet50": published.resnet((3, 4, 6, 3), wide=True),
    "hrnet-w18": published.hrnet(18, "timm"),
    "hrnet-w32": published.hrnet(32, "pose"),
    "vit-b16": published.vit(),
    "vit-b16-clip": published.clip(),
}


@pytest.mark.parametrize("name", FILES)
def test_published_weights_fill_the_backbone(name: str, tmp_path: Path) -> None:
    tensors = published.tensors(FILES[name])
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": tensors}, file)
    backbone = build_backbone(name)
    fresh = init_backbone(backbone, file)
    assert all(tensor.startswith(("ladder.", "stage4.2.fuse_layers.")) for tensor in fresh)
    assert bool(fresh) == (name in ("hrnet-w32", "vit-b16", "vit-b16-clip"))
    loaded = backbone.state_dict()
    first = {
        "vit-b16-clip": "visual.transformer.resblocks.7.attn.in_proj_weight",
        "vit-b16": "blocks.7.attn.qkv.weight",
    }
    ours = "blocks.7.attn.qkv.weight" if name.startswith("vit") else "layer1.1.conv2.weight"
    assert torch.equal(loaded[ours], tensors[first.get(name, ours)])


def test_safetensors_with_a_prefix_and_early_downsampling(tmp_path: Path) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in published.tensors(FILES["hrnet-w18"]).items()}
    save_file(tensors, tmp_path / "weights.safetensors")
    fresh = init_backbone(build_backbone("hrnet-w18", stride=64), tmp_path / "weights.safetensors")
    assert {name.partition(".")[0] for name in fresh} == {"conv3", "bn3", "conv4", "bn4"}


def test_pose_weights_without_the_wrapper(tmp_path: Path) -> None:
    torch.save(published.tensors(FILES["resnet18"]), tmp_path / "weights.pth")
    assert init_backbone(build_backbone("resnet18"), tmp_path / "weights.pth") == []


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(published.tensors(FILES["resnet18"]), file)
    with pytest.raises(ModelError, match=r"weights.pth: these are not weights of this backbone: .* are missing, conv2"):
        init_backbone(build_backbone("hrnet-w18"), file)
    with pytest.raises(ModelError, match=r"conv1.weight has shape \(64, 3, 7, 7\), and \(32, 3, 7, 7\) is needed"):
        init_backbone(build_backbone("resnet18-half"), file)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    backbone = build_backbone("resnet18-half")
    with pytest.raises(ModelError, match=r"none.pth: the weights cannot be read"):
        init_backbone(backbone, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match=r"text.pth: the weights cannot be read"):
        init_backbone(backbone, tmp_path / "text.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"12")
    with pytest.raises(ModelError, match=r"cut.safetensors: the weights cannot be read"):
        init_backbone(backbone, tmp_path / "cut.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match=r"list.pth: no state dict in this file, but a list"):
        init_backbone(backbone, tmp_path / "list.pth")


class Harm:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("/tmp/harm"),)  # type: ignore[return-value]


def test_pickles_that_would_run_code_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Harm()}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match=r"bad.pth: the weights cannot be read"):
        init_backbone(build_backbone("resnet18-half"), tmp_path / "bad.pth")


def test_unknown_backbones_name_the_known_ones() -> None:
    with pytest.raises(ModelError, match="no backbone 'resnet19'; choose from resnet18-half"):
        build_backbone("resnet19")
    with pytest.raises(ModelError, match="not 4 from stride 5"):
        build_backbone("resnet18", stride=5)
    with pytest.raises(ModelError, match="vit-b16 gives 4 maps from stride 4"):
        build_backbone("vit-b16", stride=8)


def test_efficientnet_lite_sees_pictures_as_its_published_weights_did(tmp_path: Path) -> None:
    """The published networks saw (x - 127) / 128; ours are given pictures about the mean of photographs."""
    torch.manual_seed(0)
    theirs = build_backbone("efficientnet-lite0").eval()
    for norm in [module for module in theirs.modules() if isinstance(module, torch.nn.BatchNorm2d)]:
        torch.nn.init.normal_(norm.running_mean, 0, 0.1)
    torch.save({**theirs.state_dict(), "_fc.bias": torch.zeros(1000)}, tmp_path / "lite.pth")
    ours = build_backbone("efficientnet-lite0", levels=3).eval()
    assert init_backbone(ours, tmp_path / "lite.pth") == []
    # Nothing but the mean colour, so that what lies beyond the edge is the same to both.
    pixels = torch.full((1, 3, 64, 64), 127.0)
    pixels[..., 16:48, 16:48] = torch.randint(0, 255, (1, 3, 32, 32)).float()
    with torch.no_grad():
        expected, found = theirs((pixels - 127) / 128), ours(normalise(pixels))
    assert [x.shape[1:] for x in found] == [(24, 16, 16), (40, 8, 8), (112, 4, 4)]
    inner = slice(6, 10)
    torch.testing.assert_close(found[0][..., inner, inner], expected[0][..., inner, inner], atol=1e-4, rtol=1e-3)


def test_efficientnet_lite_grows() -> None:
    sizes = [millions(f"efficientnet-lite{number}") for number in range(3)]
    assert sizes[0] < sizes[1] < sizes[2]
    with pytest.raises(ModelError, match="from stride 4 on"):
        build_backbone("efficientnet-lite0", stride=8)


def test_clip_sees_pictures_as_its_published_weights_did(tmp_path: Path) -> None:
    """CLIP's mean and spread are not ImageNet's, by which `normalise` scales all pictures."""
    tensors = published.tensors(published.clip())
    torch.save(tensors, tmp_path / "farl.pth")
    ours = build_backbone("vit-b16-clip").eval()
    init_backbone(ours, tmp_path / "farl.pth")
    pixels = torch.randint(0, 255, (1, 3, 224, 224), generator=torch.Generator().manual_seed(0)).float()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    spread = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    places = tensors["visual.positional_embedding"].float()
    with torch.no_grad():
        theirs = functional.conv2d((pixels / 255 - mean) / spread, tensors["visual.conv1.weight"].float(), stride=16)
        found = ours.patch_embed(normalise(pixels))  # type: ignore[operator]
    tokens = theirs.flatten(2).transpose(1, 2) + places[1:]
    torch.testing.assert_close(found.flatten(2).transpose(1, 2) + ours.pos_embed[:, 1:], tokens, atol=1e-3, rtol=1e-3)
    assert torch.equal(ours.pos_embed[0, 0], places[0])  # type: ignore[index]
