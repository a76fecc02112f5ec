"""U-Net (Ronneberger, Fischer & Brox, MICCAI 2015, arXiv 1505.04597), with batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from napari_cardioseg.models.registry import SegmentationNetwork


def double_convolution(n_in: int, n_out: int) -> nn.Sequential:
    """Make the U-Net's step: twice a 3 x 3 convolution, batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [
            nn.Conv2d(n, n_out, 3, padding=1, bias=False),  # batch normalisation brings the bias
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(SegmentationNetwork):
    """U-Net of any depth and width, any number of input channels and classes.

    Convolutions are padded, so that the logits have the input's size; the paper's mirrored borders
    and overlapping tiles are the caller's (`predict.tiles`).

    Parameters
    ----------
    channels : int
        Channels of the input image.
    classes : int
        Output channels, the background among them.
    widths : sequence of int
        Feature maps at each level from the finest to the coarsest; each level halves the resolution.

    Raises
    ------
    ValueError
        If there are fewer than two levels or a number is not positive.
    """

    def __init__(
        self, channels: int = 1, classes: int = 3, widths: Sequence[int] = (16, 32, 64, 128, 256)
    ) -> None:
        super().__init__()
        if len(widths) < 2 or min(channels, classes, *widths) < 1:
            raise ValueError("A U-Net needs at least two levels and positive numbers of channels.")
        self.classes = classes
        self.stride = 1 << (len(widths) - 1)
        self.reach = _reach(len(widths))
        self.encoder = nn.ModuleList(
            double_convolution(n_in, n_out) for n_in, n_out in pairwise((channels, *widths))
        )
        upwards = list(pairwise(reversed(tuple(widths))))
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(low, high, 2, stride=2) for low, high in upwards)
        self.decoder = nn.ModuleList(double_convolution(2 * high, high) for _, high in upwards)
        self.head = nn.Conv2d(widths[0], classes, 1)
        self.pool = nn.MaxPool2d(2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # The paper's section 3: a standard deviation of sqrt(2 / N), N the incoming nodes.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        skips: list[Tensor] = []
        x = images
        for level, convolve in enumerate(self.encoder):
            x = convolve(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for up, convolve in zip(self.upsample, self.decoder, strict=True):
            x = convolve(torch.cat((skips.pop(), up(x)), dim=1))
        logits: Tensor = self.head(x)
        return logits


def _reach(levels: int) -> int:
    """Bound the distance in pixels over which an input pixel can change an output pixel.

    Two 3 x 3 convolutions reach 2 pixels of their level on the way down and again on the way up; each
    pooling and each upsampling moves by less than one pixel of the coarser level.
    """
    down = sum(2 << level for level in range(levels))
    up = sum(2 << level for level in range(levels - 1))
    resampling = 2 * sum(1 << level for level in range(1, levels))
    return down + up + resampling
