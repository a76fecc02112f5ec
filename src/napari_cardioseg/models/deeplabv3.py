"""DeepLabv3 (Chen, Papandreou, Schroff & Adam 2017, arXiv 1706.05587), with ASPP and in cascade.

Parameter names are torchvision's, so that a checkpoint of its `deeplabv3_resnet50` fits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_cardioseg.models.blocks import conv_bn_relu, resize
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.resnet import (
    BasicBlock,
    Bottleneck,
    initialise,
    make_resnet,
    make_stage,
    stage_reach,
)

_AUXILIARY_WEIGHT = 0.5  # torchvision's; the paper has no auxiliary loss


class ImagePooling(nn.Sequential):
    """Image-level features: the mean over the whole image, brought back to the map's size (figure 5b)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *conv_bn_relu(n_in, n_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, n_out, y, x) features, the same at every place."""
        pooled = x
        for layer in self:
            pooled = layer(pooled)
        return pooled.expand(-1, -1, *x.shape[-2:])


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1 x 1 convolution, 3 x 3 at several rates, image-level features."""

    def __init__(self, n_in: int, n_out: int, rates: Sequence[int], image_pooling: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList([conv_bn_relu(n_in, n_out, 1)])
        self.convs.extend(conv_bn_relu(n_in, n_out, 3, dilation=rate) for rate in rates)
        if image_pooling:
            self.convs.append(ImagePooling(n_in, n_out))
        self.project = nn.Sequential(*conv_bn_relu(len(self.convs) * n_out, n_out, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, n_out, y, x) features."""
        result: Tensor = self.project(torch.cat([branch(x) for branch in self.convs], dim=1))
        return result


class DeepLabV3(SegmentationNetwork):
    """DeepLabv3 with atrous spatial pyramid pooling.

    Parameters
    ----------
    channels, classes : int
        Channels of the input image; output channels, the background among them.
    backbone : str
        "resnet18", "resnet34", "resnet50" or "resnet101".
    output_stride : int
        8, 16 or 32; one set of weights serves at each.
    rates : sequence of int, optional
        Atrous rates of the pyramid; by default the paper's 6, 12, 18 at output stride 16, doubled at 8. A
        rate beyond the feature map's size makes of the 3 x 3 convolution a 1 x 1 (section 3.3), so small
        images want smaller ones.
    multi_grid : sequence of int
        Factors on the rates of the units of the last stage; (1, 2, 4) in the paper's best network.
    features : int
        Feature maps of the pyramid's branches.
    width : int
        Of the backbone; see `ResNet`.
    image_pooling : bool
        Whether the pyramid has image-level features; without, the network's reach is finite.
    auxiliary : bool
        Whether a second head learns from the third stage, as torchvision's does.

    Raises
    ------
    ValueError
        If an argument is impossible.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        backbone: str = "resnet50",
        output_stride: int = 16,
        rates: Sequence[int] | None = None,
        multi_grid: Sequence[int] = (1, 1, 1),
        features: int = 256,
        width: int = 64,
        image_pooling: bool = True,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        if rates is None:
            rates = tuple(rate * 16 // output_stride for rate in (6, 12, 18))
        if min(classes, features, *rates) < 1:
            raise ValueError("A DeepLabv3 needs positive numbers of classes, features and rates.")
        self.classes = classes
        self.stride = output_stride
        self.backbone = make_resnet(
            backbone, channels, output_stride=output_stride, multi_grid=multi_grid, width=width
        )
        n_in = self.backbone.widths[3]
        self.classifier = nn.Sequential(
            ASPP(n_in, features, rates, image_pooling),
            *conv_bn_relu(features, features),
            nn.Conv2d(features, classes, 1),
        )
        self.aux_classifier: nn.Sequential | None = None
        if auxiliary:
            self.aux_classifier = _auxiliary_head(self.backbone.widths[2], classes)
        # The pyramid, a 3 x 3 convolution, and bilinear interpolation, which reads up to 1.5 features away.
        beyond = output_stride * (2 * max(rates, default=0) + 2 + 3) // 2
        self.reach = None if image_pooling else self.backbone.reaches[3] + beyond
        initialise(self.classifier[:-1])  # scores start small, as torch draws them

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        return resize(self.classifier(self.backbone(images)[3]), images)

    def training_outputs(self, images: Tensor) -> tuple[tuple[float, Tensor], ...]:
        """Give the logits and, if there is an auxiliary head, its own at half the weight."""
        third, fourth = self.backbone(images)[2:]
        outputs = [(1.0, resize(self.classifier(fourth), images))]
        if self.aux_classifier is not None:
            outputs.append((_AUXILIARY_WEIGHT, resize(self.aux_classifier(third), images)))
        return tuple(outputs)


class DeepLabV3Cascade(SegmentationNetwork):
    """DeepLabv3 with the last stage repeated in cascade, each copy at twice the rate (figure 3b).

    Parameters
    ----------
    channels, classes, backbone, output_stride, width
        As for `DeepLabV3`.
    multi_grid : sequence of int
        Factors on the rates of the units of the last stage and of its copies.
    blocks : int
        Number of stages in all; 7 in the paper, of which 5 to 7 are copies of the fourth.

    Raises
    ------
    ValueError
        If an argument is impossible.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        backbone: str = "resnet50",
        output_stride: int = 16,
        multi_grid: Sequence[int] = (1, 2, 1),
        blocks: int = 7,
        width: int = 64,
    ) -> None:
        super().__init__()
        if classes < 1 or blocks < 4:
            raise ValueError("A cascade needs at least one class and the four stages of its backbone.")
        self.classes = classes
        self.stride = output_stride
        self.backbone = make_resnet(
            backbone, channels, output_stride=output_stride, multi_grid=multi_grid, width=width
        )
        fourth = self.backbone.layer4
        block = BasicBlock if isinstance(fourth[0], BasicBlock) else Bottleneck
        n, rate = self.backbone.widths[3], self.backbone.dilation
        stages = []
        for _ in range(blocks - 4):
            rate *= 2  # what would be another stride is another doubling of the rate
            stages.append(make_stage(block, n, n // block.expansion, len(fourth), 1, rate, rate, multi_grid))
        self.cascade = nn.Sequential(*stages)
        self.classifier = nn.Conv2d(n, classes, 1)
        beyond = output_stride * (2 * sum(map(stage_reach, stages)) + 3) // 2
        self.reach = self.backbone.reaches[3] + beyond
        initialise(self.cascade)

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        return resize(self.classifier(self.cascade(self.backbone(images)[3])), images)


def _auxiliary_head(n_in: int, classes: int) -> nn.Sequential:
    """Make torchvision's FCN head."""
    inner = n_in // 4
    trunk = conv_bn_relu(n_in, inner)
    initialise(trunk)
    return nn.Sequential(*trunk, nn.Dropout(0.1), nn.Conv2d(inner, classes, 1))
