"""ResNets. Parameters are named as torchvision's, so its weights fit."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vtrack.models.backbones.blocks import Backbone, BasicBlock, Bottleneck, conv_norm, start_weights


class ResNet(Backbone):
    """A ResNet without its classifier; `levels` maps, each half the size of the one before, the first at `stride`."""

    own = ("reduce.",)

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: Sequence[int],
        width: int = 64,
        stride: int = 4,
        levels: int = 4,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        halvings = (stride // 4).bit_length() - 1
        self.reduce = nn.Sequential(*(conv_norm(width, width, stride=2) for _ in range(halvings)))
        inside = width
        self.channels: tuple[int, ...] = ()
        self.strides = tuple(stride << level for level in range(levels))
        for level, depth in enumerate(depths[:levels]):
            blocks = []
            for place in range(depth):
                step = 2 if level > 0 and place == 0 else 1
                blocks.append(block(inside, width << level, step))
                inside = (width << level) * block.expansion
            setattr(self, f"layer{level + 1}", nn.Sequential(*blocks))
            self.channels += (inside,)
        start_weights(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.reduce(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        maps = []
        for level in range(len(self.channels)):
            x = getattr(self, f"layer{level + 1}")(x)
            maps.append(x)
        return maps
