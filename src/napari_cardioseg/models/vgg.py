"""VGG16 trunks (Simonyan & Zisserman, ICLR 2015, arXiv 1409.1556), configuration D.

Parameter names are torchvision's, so that a checkpoint of its `vgg16_bn` or `vgg16` fits.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_CONVOLUTIONS = (2, 2, 3, 3, 3)
NAMES = ("vgg16_bn", "vgg16")


class VGG16(nn.Module):
    """The five stages of VGG16, each of 3 x 3 convolutions with a 2 x 2 max pooling at its end.

    Parameters
    ----------
    channels : int
        Channels of the input image.
    width : int
        Feature maps of the first stage; 64 in the paper.
    output_stride : int
        32, or 16 or 8: the last one or two poolings are then left out, and the convolutions after them are
        dilated instead (Yu & Koltun 2016, section 4).
    batch_norm : bool
        Whether batch normalisation follows each convolution.

    Attributes
    ----------
    widths, strides : tuple of five int
        Feature maps, and input pixels from one feature to the next, by stage, after its pooling.
    reaches : tuple of five int
        Input pixels beyond the `stride` that a feature stands for on which it may depend, by stage.
    dilation : int
        Dilation that convolutions after the last stage need to see what they would at output stride 32.

    Raises
    ------
    ValueError
        If an argument is impossible.
    """

    def __init__(
        self, channels: int = 1, width: int = 64, output_stride: int = 32, batch_norm: bool = True
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"A VGG16's output stride is 8, 16 or 32, not {output_stride}.")
        if min(channels, width) < 1:
            raise ValueError("A VGG16 needs positive numbers of channels.")
        layers: list[nn.Module] = []
        widths, strides, reaches, ends = [], [], [], []
        n_in, stride, reach, self.dilation = channels, 1, 0, 1
        for stage, convolutions in enumerate(_CONVOLUTIONS):
            n_out = width * min(1 << stage, 8)
            for _ in range(convolutions):
                layers += _convolution(n_in, n_out, self.dilation, batch_norm)
                n_in, reach = n_out, reach + stride * self.dilation
            if stride < output_stride:
                layers.append(nn.MaxPool2d(2))
                stride *= 2
            else:
                layers.append(nn.Identity())  # in the pooling's place, so that torchvision's numbers hold
                self.dilation *= 2
            widths.append(n_out)
            strides.append(stride)
            reaches.append(reach)
            ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.widths, self.strides, self.reaches = tuple(widths), tuple(strides), tuple(reaches)
        self._ends = tuple(ends)
        initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Give the features after each of the five stages of (batch, channels, y, x) images."""
        x, found = images, []
        for stage, end in zip(self.stages(), self._ends, strict=True):
            x = self.features[end](stage(x))
            found.append(x)
        return tuple(found)

    def stages(self) -> tuple[nn.Sequential, ...]:
        """Give the five stages without their poolings."""
        layers, starts = list(self.features), (0, *(end + 1 for end in self._ends[:-1]))
        return tuple(nn.Sequential(*layers[i:j]) for i, j in zip(starts, self._ends, strict=True))


class ConvolutionalHead(nn.Module):
    """VGG16's first two fully connected layers as convolutions (Long et al. 2015, section 3.1).

    Padding keeps the map's size. Where the whole 7 x 7 window lies on the map, the outcome is that of the
    fully connected layers; beyond the border there are zeros.

    Parameters
    ----------
    n_in : int
        Feature maps of the trunk.
    fc : int
        Feature maps of both layers; 4096 in the paper.
    dilation : int
        Of the 7 x 7 convolution; see `VGG16.dilation`.
    dropout : float
        Share of values that are dropped after each layer in training.

    Attributes
    ----------
    reach : int
        Features to each side on which an output may depend.
    """

    def __init__(self, n_in: int, fc: int = 4096, dilation: int = 1, dropout: float = 0.5) -> None:
        super().__init__()
        if fc < 1:
            raise ValueError("The fully connected layers need a positive number of feature maps.")
        self.fc6 = nn.Conv2d(n_in, fc, 7, padding=3 * dilation, dilation=dilation)
        self.fc7 = nn.Conv2d(fc, fc, 1)
        self.dropout = nn.Dropout(dropout)
        self.reach = 3 * dilation
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, fc, y, x) features."""
        for layer in (self.fc6, self.fc7):
            x = self.dropout(F.relu(layer(x)))
        return x


def make_vgg(name: str, channels: int = 1, *, output_stride: int = 32, width: int = 64) -> VGG16:
    """Make the trunk that a configuration names: "vgg16_bn", with batch normalisation, or "vgg16"."""
    if name not in NAMES:
        raise ValueError(f"There is no backbone {name!r} for this network; known are {', '.join(NAMES)}.")
    return VGG16(channels, width, output_stride, batch_norm=name == "vgg16_bn")


def initialise(network: nn.Module) -> None:
    """Draw fresh weights of all convolutions as He et al. (2015), equation 10; biases start at 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _convolution(n_in: int, n_out: int, dilation: int, batch_norm: bool) -> list[nn.Module]:
    # With a bias even before batch normalisation: torchvision has it, and its checkpoints hold it.
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(n_out))
    return [*layers, nn.ReLU(inplace=True)]
