"""RefineNet (Lin, Milan, Shen & Reid 2016, arXiv 1611.06612), the 4-cascaded one.

Where the paper leaves room, as in the authors' code (github.com/guosheng/refinenet).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from napari_cardioseg.models.blocks import resize
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.resnet import make_resnet


class ResidualConvolutionUnit(nn.Module):
    """Twice ReLU and a 3 x 3 convolution beside a shortcut, without batch normalisation (figure 3b)."""

    reach = 2

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = _residual_conv(n)
        self.conv2 = _residual_conv(n)

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, n, y, x) features."""
        result: Tensor = x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return result


class ChainedResidualPooling(nn.Module):
    """A chain of 5 x 5 max pooling and 3 x 3 convolution, whose every link is added (figure 3d)."""

    def __init__(self, n: int, links: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_residual_conv(n) for _ in range(links))
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.reach = 3 * links

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, n, y, x) features."""
        x = F.relu(x)
        total = x
        for conv in self.convs:
            x = conv(self.pool(x))
            total = total + x
        return total


class RefineBlock(nn.Module):
    """One RefineNet: a stage's features and the coarser block's output, fused and pooled (figure 3a).

    Of the three residual units at the end, one is the block's own; the other two are those with which the
    next block adapts this path (section 3.2, "output convolutions"), and at the last block, the two before
    the prediction.

    Parameters
    ----------
    n_stage, n : int
        Feature maps of the stage, and of this block.
    n_coarser : int or None
        Feature maps of the coarser block; None for the coarsest, which has only one path.
    pools : int
        Links of the chained residual pooling.
    """

    def __init__(self, n_stage: int, n: int, n_coarser: int | None, pools: int) -> None:
        super().__init__()
        self.adapt = nn.Sequential(_conv(n_stage, n), *(ResidualConvolutionUnit(n) for _ in range(2)))
        self.fuse: nn.ModuleList | None = None
        if n_coarser is not None:
            self.fuse = nn.ModuleList([_conv(n, n), _conv(n_coarser, n)])
        pooling = ChainedResidualPooling(n, pools)
        self.refine = nn.Sequential(pooling, *(ResidualConvolutionUnit(n) for _ in range(3)))
        self.adapt_reach = 1 + 2 * ResidualConvolutionUnit.reach
        self.refine_reach = pooling.reach + 3 * ResidualConvolutionUnit.reach

    def forward(self, stage: Tensor, coarser: Tensor | None = None) -> Tensor:
        """Give (batch, n, y, x) features of the size of `stage`."""
        x: Tensor = self.adapt(stage)
        if self.fuse is not None and coarser is not None:
            x = self.fuse[0](x) + resize(self.fuse[1](coarser), x)
        result: Tensor = self.refine(x)
        return result


class RefineNet(SegmentationNetwork):
    """A ResNet whose four stages are joined from coarse to fine by four RefineNet blocks.

    Parameters
    ----------
    channels, classes : int
        Channels of the input image; output channels, the background among them.
    backbone : str
        "resnet18", "resnet34", "resnet50" or "resnet101".
    features : int
        Feature maps of the blocks, 256 in the paper; the coarsest has twice as many.
    pools : int
        Links of the chained residual pooling: 2 in the paper, 4 in the authors' later models.
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
        features: int = 256,
        pools: int = 2,
        width: int = 64,
    ) -> None:
        super().__init__()
        if min(classes, features, pools) < 1:
            raise ValueError("A RefineNet needs positive numbers of classes, features and pools.")
        self.classes = classes
        self.backbone = make_resnet(backbone, channels, width=width)
        self.stride = self.backbone.strides[3]
        *finer, coarsest = self.backbone.widths
        blocks = [RefineBlock(coarsest, 2 * features, None, pools)]
        n_coarser = 2 * features
        for n_stage in reversed(finer):
            blocks.append(RefineBlock(n_stage, features, n_coarser, pools))
            n_coarser = features
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Conv2d(features, classes, 3, padding=1)
        nn.init.normal_(self.classifier.weight, std=0.01)
        # The longest way goes over the coarsest stage: its adaptation, then at every stage a block, a 3 x 3
        # convolution and bilinear interpolation, which reads up to 1.5 features away.
        strides = self.backbone.strides
        beyond = self.stride * blocks[0].adapt_reach + sum(strides) * blocks[0].refine_reach
        self.reach = self.backbone.reaches[3] + beyond + sum(strides) * 5 // 2

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        x: Tensor | None = None
        for block, stage in zip(self.blocks, reversed(self.backbone(images)), strict=True):
            x = block(stage, x)
        return resize(self.classifier(self.dropout(x)), images)


def _conv(n_in: int, n_out: int) -> nn.Conv2d:
    """Make a 3 x 3 convolution that keeps its input's variance, as those in series have to."""
    layer = nn.Conv2d(n_in, n_out, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return layer


def _residual_conv(n: int) -> nn.Conv2d:
    """Make a 3 x 3 convolution beside a shortcut: small weights, as the authors' code draws all its own."""
    layer = nn.Conv2d(n, n, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.01)
    return layer
