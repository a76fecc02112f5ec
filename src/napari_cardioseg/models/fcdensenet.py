"""FC-DenseNet, "the one hundred layers tiramisu" (Jegou et al., CVPR workshops 2017, arXiv 1611.09326)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from napari_cardioseg.models.registry import SegmentationNetwork


def dense_layer(n_in: int, n_out: int, kernel: int, dropout: float) -> nn.Sequential:
    """Make the paper's layer (table 1): batch normalisation, ReLU, convolution, dropout."""
    return nn.Sequential(
        nn.BatchNorm2d(n_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2),
        nn.Dropout(dropout),
    )


class DenseBlock(nn.Module):
    """Layers of which each sees the block's input and all that the layers before it made.

    Parameters
    ----------
    n_in : int
        Channels of the input.
    growth : int
        Feature maps that each layer adds.
    n_layers : int
        How many layers.
    dropout : float
        Share of values that are dropped after each convolution in training.
    """

    def __init__(self, n_in: int, growth: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            dense_layer(n_in + i * growth, growth, 3, dropout) for i in range(n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give what the layers made of (batch, n_in, y, x), without the input: n_layers * growth channels."""
        made: list[Tensor] = []
        for layer in self.layers:
            made.append(layer(torch.cat((x, *made), dim=1)))
        return torch.cat(made, dim=1)


class FCDenseNet(SegmentationNetwork):
    """A U of dense blocks: the way down keeps every feature, the way up carries on only the new ones.

    On the way up a block's input is not handed on with its output, so that the transposed convolution
    upsamples the new features only (section 3.2) and the finest level stays affordable. Only the last
    block's input joins its output before the classifier (table 2).

    Parameters
    ----------
    channels : int
        Channels of the input image.
    classes : int
        Output channels, the background among them.
    growth : int
        Feature maps that each layer adds.
    layers : sequence of int
        Layers of the dense block at each level, from the finest to the coarsest; the way up has the same.
    bottleneck : int
        Layers of the block between the ways.
    first : int
        Feature maps of the first convolution.
    dropout : float
        Share of values that are dropped after each convolution in training.

    Raises
    ------
    ValueError
        If there is no level, a number is not positive or the dropout no share.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        *,
        growth: int = 16,
        layers: Sequence[int] = (4, 5, 7, 10, 12),
        bottleneck: int = 15,
        first: int = 48,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not layers or min(channels, classes, growth, bottleneck, first, *layers) < 1:
            raise ValueError("An FC-DenseNet needs at least one level and positive numbers of layers.")
        if not 0 <= dropout < 1:
            raise ValueError("An FC-DenseNet's dropout is a share, at least 0 and less than 1.")
        self.classes = classes
        self.stride = 1 << len(layers)
        self.reach = _reach(layers, bottleneck)
        self.stem = nn.Conv2d(channels, first, 3, padding=1)
        self.down, self.transition_down = nn.ModuleList(), nn.ModuleList()
        width, skips = first, []
        for n in layers:
            self.down.append(DenseBlock(width, growth, n, dropout))
            width += n * growth
            skips.append(width)
            self.transition_down.append(
                nn.Sequential(*dense_layer(width, width, 1, dropout), nn.MaxPool2d(2))
            )
        self.bottleneck = DenseBlock(width, growth, bottleneck, dropout)
        self.transition_up, self.up = nn.ModuleList(), nn.ModuleList()
        made = bottleneck * growth
        for n, skip in zip(reversed(layers), reversed(skips), strict=True):
            self.transition_up.append(
                nn.ConvTranspose2d(made, made, 3, stride=2, padding=1, output_padding=1)
            )
            width = made + skip
            self.up.append(DenseBlock(width, growth, n, dropout))
            made = n * growth
        self.head = nn.Conv2d(width + made, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")  # section 4.1: HeUniform
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        x = self.stem(images)
        skips: list[Tensor] = []
        for block, shrink in zip(self.down, self.transition_down, strict=True):
            x = torch.cat((x, block(x)), dim=1)
            skips.append(x)
            x = shrink(x)
        new = self.bottleneck(x)
        for enlarge, block in zip(self.transition_up, self.up, strict=True):
            x = torch.cat((enlarge(new), skips.pop()), dim=1)
            new = block(x)
        logits: Tensor = self.head(torch.cat((x, new), dim=1))
        return logits


def _reach(layers: Sequence[int], bottleneck: int) -> int:
    """Bound the distance in pixels over which an input pixel can change an output pixel.

    Each dense layer reaches one pixel of its level; each pooling moves by less than one pixel of the
    coarser level, each transposed convolution by one at most.
    """
    blocks = 2 * sum(n << level for level, n in enumerate(layers)) + (bottleneck << len(layers))
    resampling = 2 * sum(1 << level for level in range(1, len(layers) + 1))
    return 1 + blocks + resampling


# The paper's three, by their number of layers (section 4.1, table 2).
fcdensenet56 = partial(FCDenseNet, growth=12, layers=(4, 4, 4, 4, 4), bottleneck=4)
fcdensenet67 = partial(FCDenseNet, growth=16, layers=(5, 5, 5, 5, 5), bottleneck=5)
fcdensenet103 = partial(FCDenseNet, growth=16, layers=(4, 5, 7, 10, 12), bottleneck=15)
