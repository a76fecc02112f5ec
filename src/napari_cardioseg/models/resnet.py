"""ResNet trunks (He et al., CVPR 2016, arXiv 1512.03385), with atrous rates in place of strides.

Parameter names are torchvision's, so that a checkpoint of its `resnet18` to `resnet101` fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor, nn

_UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
NAMES = tuple(f"resnet{depth}" for depth in _UNITS)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (ResNet-18 and 34); `entry` is the first one's rate."""

    expansion = 1

    def __init__(self, n_in: int, width: int, stride: int = 1, entry: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(n_in, width, 3, stride, entry)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(n_in, width, stride)
        self.reach = entry + dilation * stride

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, width, y / stride, x / stride) features."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        result: Tensor = self.relu(x + shortcut)
        return result


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two 1 x 1, beside a shortcut (ResNet-50 and 101).

    The stride is the 3 x 3 convolution's, as in torchvision, not the first 1 x 1's as in the paper; its rate
    is `entry`, for there is no second one.
    """

    expansion = 4

    def __init__(self, n_in: int, width: int, stride: int = 1, entry: int = 1, dilation: int = 1) -> None:
        super().__init__()
        n_out = width * self.expansion
        self.conv1 = _conv(n_in, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride, entry)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, n_out, 1)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(n_in, n_out, stride)
        self.reach = entry

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, 4 width, y / stride, x / stride) features."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        result: Tensor = self.relu(x + shortcut)
        return result


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """The trunk of a ResNet, without its classifier.

    Parameters
    ----------
    depth : int
        18, 34, 50 or 101.
    channels : int
        Channels of the input image.
    output_stride : int
        32, or 16 or 8: the last one or two stages then keep the resolution, and their convolutions are
        atrous instead (Chen et al. 2017, section 3.1).
    multi_grid : sequence of int
        Factors on the atrous rates of the units of the last stage (Chen et al. 2017, section 3.2.1), repeated
        if that stage has more units.
    width : int
        Feature maps of the first stage; 64 in the paper.

    Attributes
    ----------
    widths : tuple of four int
        Feature maps of the four stages.
    strides : tuple of four int
        Input pixels from one feature to the next, by stage.
    reaches : tuple of four int
        Distance in input pixels over which a feature may depend on the input, by stage.
    dilation : int
        Atrous rate of the last stage.

    Raises
    ------
    ValueError
        If depth or output stride are none of those.
    """

    def __init__(
        self,
        depth: int,
        channels: int = 1,
        output_stride: int = 32,
        multi_grid: Sequence[int] = (1, 1, 1),
        width: int = 64,
    ) -> None:
        super().__init__()
        if depth not in _UNITS:
            raise ValueError(f"There is no ResNet of depth {depth}; known are {', '.join(map(str, _UNITS))}.")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"A ResNet's output stride is 8, 16 or 32, not {output_stride}.")
        if min(channels, width, *multi_grid) < 1:
            raise ValueError("A ResNet needs positive numbers of channels and multi-grid rates.")
        block: Block = BasicBlock if depth < 50 else Bottleneck
        self.conv1 = _conv(channels, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stride, self.dilation, n_in = 4, 1, width
        stages: list[nn.Sequential] = []
        strides: list[int] = []
        reaches: list[int] = []
        for i, units in enumerate(_UNITS[depth]):
            step, before = 1 if i == 0 else 2, self.dilation
            if stride * step > output_stride:
                step, self.dilation = 1, self.dilation * step
            grid = multi_grid if i == 3 else (1,)
            stages.append(make_stage(block, n_in, width << i, units, step, self.dilation, before, grid))
            reaches.append(stride * stage_reach(stages[-1], step))
            stride, n_in = stride * step, (width << i) * block.expansion
            strides.append(stride)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.widths = tuple((width << i) * block.expansion for i in range(4))
        self.strides = tuple(strides)
        stem = 3 + 2  # a 7 x 7 convolution, then pooling of 3 x 3 of its outputs
        self.reaches = tuple(stem + total for total in accumulate(reaches))
        initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give the features of the four stages of (batch, channels, y, x) images."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        first: Tensor = self.layer1(x)
        second: Tensor = self.layer2(first)
        third: Tensor = self.layer3(second)
        fourth: Tensor = self.layer4(third)
        return first, second, third, fourth


def make_resnet(
    name: str,
    channels: int = 1,
    *,
    output_stride: int = 32,
    multi_grid: Sequence[int] = (1, 1, 1),
    width: int = 64,
) -> ResNet:
    """Make the trunk that a configuration names ("resnet18"); the rest as `ResNet`."""
    if name not in NAMES:
        raise ValueError(f"There is no backbone {name!r} for this network; known are {', '.join(NAMES)}.")
    return ResNet(int(name.removeprefix("resnet")), channels, output_stride, multi_grid, width)


def make_stage(
    block: Block,
    n_in: int,
    width: int,
    units: int,
    stride: int = 1,
    dilation: int = 1,
    first_dilation: int = 1,
    multi_grid: Sequence[int] = (1,),
) -> nn.Sequential:
    """Make a stage of residual units, of which the first has the stride.

    Where dilation replaces a stride, the stage's first convolution still sees the rate of the stage before
    (`first_dilation`), as in torchvision: its inputs are the ones that a strided one would have seen.
    """
    rates = [dilation * multi_grid[i % len(multi_grid)] for i in range(units)]
    n_out = width * block.expansion
    layers: list[nn.Module] = [block(n_in, width, stride, first_dilation * multi_grid[0], rates[0])]
    layers += [block(n_out, width, 1, rate, rate) for rate in rates[1:]]
    return nn.Sequential(*layers)


def stage_reach(stage: nn.Sequential, stride: int = 1) -> int:
    """Bound the reach of a stage in pixels of its own input; `stride` is its first unit's."""
    total, step = 0, 1
    for unit in stage:
        assert isinstance(unit, BasicBlock | Bottleneck)
        total, step = total + unit.reach * step, stride
    return total


def initialise(network: nn.Module) -> None:
    """Draw fresh weights: He et al. 2015 for convolutions; each residual unit starts as its shortcut.

    The latter (the last normalisation's weight at 0: Goyal et al. 2017, section 5.1) lets deep trunks
    learn from random weights.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def _conv(n_in: int, n_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)


def _shortcut(n_in: int, n_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and n_in == n_out:
        return None
    return nn.Sequential(_conv(n_in, n_out, 1, stride), nn.BatchNorm2d(n_out))
