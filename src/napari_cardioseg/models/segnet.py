"""SegNet (Badrinarayanan, Kendall & Cipolla 2015, arXiv 1511.00561)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from napari_cardioseg.models.blocks import conv_bn_relu
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.vgg import VGG16, initialise


class SegNet(SegmentationNetwork):
    """VGG16 with batch normalisation, and its mirror image as decoder.

    The decoder puts each value back to the place from which max pooling took it, and fills the gaps by
    convolution; nothing else is carried over from the encoder.

    Parameters
    ----------
    channels : int
        Channels of the input image.
    classes : int
        Output channels, the background among them.
    width : int
        Feature maps of the first stage; 64 in the paper.

    Raises
    ------
    ValueError
        If a number is not positive.
    """

    def __init__(self, channels: int = 1, classes: int = 3, width: int = 64) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError("A SegNet needs at least one class.")
        self.classes = classes
        self.backbone = VGG16(channels, width)
        self.stride = self.backbone.strides[-1]
        widths = self.backbone.widths
        convolutions = [
            sum(isinstance(layer, nn.Conv2d) for layer in stage) for stage in self.backbone.stages()
        ]
        decoder: list[nn.Sequential] = []
        for stage in reversed(range(len(widths))):
            n, finer = widths[stage], widths[max(stage - 1, 0)]
            last = nn.Conv2d(n, classes, 3, padding=1) if stage == 0 else conv_bn_relu(n, finer)
            decoder.append(nn.Sequential(*(conv_bn_relu(n, n) for _ in range(convolutions[stage] - 1)), last))
        self.decoder = nn.ModuleList(decoder)
        initialise(self.decoder)
        self.reach = 0
        for number in reversed(convolutions):
            # A pooled pixel stands for two of the finer map; each convolution, on both ways, reaches one.
            self.reach = 2 * self.reach + 1 + 2 * number

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        x, places = images, []
        for stage in self.backbone.stages():
            x, indices = F.max_pool2d(stage(x), 2, return_indices=True)
            places.append(indices)
        for convolve in self.decoder:
            x = convolve(_unpool(x, places.pop()))
        return x


def _unpool(x: Tensor, indices: Tensor) -> Tensor:
    """Put pooled values back to where they came from, with zeros between: twice the size along y and x.

    As `torch.nn.functional.max_unpool2d`, which has no deterministic variant.
    """
    batch, channels, height, width = x.shape
    empty = x.new_zeros(batch, channels, 4 * height * width)
    filled = empty.scatter(2, indices.flatten(2), x.flatten(2))
    return filled.view(batch, channels, 2 * height, 2 * width)
