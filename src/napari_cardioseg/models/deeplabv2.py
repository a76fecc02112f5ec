"""DeepLabv2 (Chen, Papandreou, Kokkinos, Murphy & Yuille 2016, arXiv 1606.00915), its ResNet variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_cardioseg.models.blocks import resize
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.resnet import make_resnet

_LARGEST_DENOMINATOR = 8  # of a scale; the network's stride grows with it


class ASPP(nn.ModuleList):
    """Atrous spatial pyramid pooling by sum: one 3 x 3 convolution to class scores at each rate.

    So it is in the ResNet variant; in the VGG variant ("ASPP-L", figure 7) each branch is fc6-fc7-fc8 with
    1024 feature maps instead.
    """

    def __init__(self, n_in: int, classes: int, rates: Sequence[int]) -> None:
        super().__init__(_scores(n_in, classes, rate) for rate in rates)

    def forward(self, x: Tensor) -> Tensor:
        """Give scores (batch, classes, y, x)."""
        result: Tensor = reduce(torch.add, [branch(x) for branch in self])
        return result


class DeepLabV2(SegmentationNetwork):
    """DeepLabv2 on a ResNet, with atrous spatial pyramid pooling and several scales of the input.

    One set of weights sees the image at every scale; the scores are brought to the image's size, and the
    largest over the scales counts at each pixel (section 3.2).

    Parameters
    ----------
    channels, classes : int
        Channels of the input image; output channels, the background among them.
    backbone : str
        "resnet18", "resnet34", "resnet50" or "resnet101", the paper's.
    output_stride : int
        8 in the paper; 16 or 32 are cheaper.
    rates : sequence of int
        Atrous rates of the pyramid's branches, in features.
    scales : sequence of float
        Sizes, relative to the image, at which the network sees it.
    width : int
        Of the backbone; see `ResNet`.

    Raises
    ------
    ValueError
        If an argument is impossible.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        backbone: str = "resnet101",
        output_stride: int = 8,
        rates: Sequence[int] = (6, 12, 18, 24),
        scales: Sequence[float] = (0.5, 0.75, 1.0),
        width: int = 64,
    ) -> None:
        super().__init__()
        if classes < 1 or not rates or min(rates) < 1:
            raise ValueError("A DeepLabv2 needs at least one class and at least one rate, all positive.")
        if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
            raise ValueError("A DeepLabv2 needs at least one scale, all positive.")
        ratios = [Fraction(scale).limit_denominator(_LARGEST_DENOMINATOR) for scale in scales]
        if any(abs(ratio - scale) > 1e-3 * scale for ratio, scale in zip(ratios, scales, strict=True)):
            raise ValueError(f"The scales {list(scales)} have to be fractions of small numbers, like 0.75.")
        self.classes = classes
        # At every scale, a tile's corner then lies on a feature, and tiles agree with the whole image.
        self.stride = output_stride * math.lcm(*(ratio.denominator for ratio in ratios))
        self.scales = tuple(float(ratio) for ratio in ratios)
        self.backbone = make_resnet(backbone, channels, output_stride=output_stride, width=width)
        self.classifier = ASPP(self.backbone.widths[3], classes, rates)
        # Interpolation reads scores up to 1.5 features away, and image pixels up to one away.
        reach = self.backbone.reaches[3] + output_stride * (max(rates) + 1.5)
        self.reach = math.ceil(reach / min(self.scales) + 1)

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        return _largest(self._by_scale(images))

    def training_outputs(self, images: Tensor) -> tuple[tuple[float, Tensor], ...]:
        """Give the fused logits and those of every scale, all with weight 1.

        The "extra supervision" of Chen et al., CVPR 2016 (arXiv 1511.03339), with which the authors'
        models of several scales were trained.
        """
        by_scale = self._by_scale(images)
        if len(by_scale) == 1:
            return ((1.0, by_scale[0]),)
        return tuple((1.0, logits) for logits in (_largest(by_scale), *by_scale))

    def _by_scale(self, images: Tensor) -> list[Tensor]:
        """Give the logits of each scale, brought to the size of `images`."""
        return [
            resize(self.classifier(self.backbone(_scaled(images, scale))[3]), images) for scale in self.scales
        ]


def _scores(n_in: int, classes: int, rate: int) -> nn.Conv2d:
    layer = nn.Conv2d(n_in, classes, 3, padding=rate, dilation=rate)
    nn.init.normal_(layer.weight, std=0.01)  # as the authors' models draw their classifiers
    return layer


def _scaled(images: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return images
    size = [max(round(side * scale), 1) for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def _largest(by_scale: list[Tensor]) -> Tensor:
    return reduce(torch.maximum, by_scale)
