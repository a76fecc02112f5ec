"""Dilated convolutions (Yu & Koltun, ICLR 2016, arXiv 1511.07122): VGG16 front end and context module."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from napari_cardioseg.models.blocks import resize
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.vgg import ConvolutionalHead, initialise, make_vgg

# Table 1: 3 x 3 convolutions of these dilations, then one of 1 x 1.
_DILATIONS = (1, 1, 2, 4, 8, 16, 1)
_WIDTHS = {
    "basic": (1, 1, 1, 1, 1, 1, 1, 1, 1),
    "large": (1, 2, 2, 4, 8, 16, 32, 32, 1),
}
# Relative to the weights that carry the scores; it only has to make the copies of a class differ.
_NOISE = 0.003


class Context(nn.Sequential):
    """The context module: score maps in, score maps out, each informed by 67 x 67 of those before.

    Fresh weights hand the scores on (equations 4 and 5). The truncation at zero after each convolution but
    the last, which is the paper's too, lets only those above zero pass.

    Parameters
    ----------
    classes : int
        Score maps in and out.
    kind : str
        "basic" or "large", as in table 1.

    Attributes
    ----------
    reach : int
        Scores to each side on which an output may depend.

    Raises
    ------
    ValueError
        If there is no such kind.
    """

    def __init__(self, classes: int, kind: str = "basic") -> None:
        if kind not in _WIDTHS:
            raise ValueError(f"There is no context module {kind!r}; known are {', '.join(_WIDTHS)}.")
        widths = [classes * factor for factor in _WIDTHS[kind]]
        layers: list[nn.Module] = []
        for (n_in, n_out), dilation in zip(pairwise(widths[:-1]), _DILATIONS, strict=True):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(widths[-2], classes, 1))
        self.reach = sum(_DILATIONS)
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                _initialise_as_identity(layer, classes, noise=0.0 if kind == "basic" else _NOISE)


class Dilated(SegmentationNetwork):
    """VGG16 without its last two poolings, dilated instead, and a context module on its scores.

    Padding keeps the maps' size where the paper extends the image by its mirror.

    Parameters
    ----------
    channels : int
        Channels of the input image.
    classes : int
        Output channels, the background among them.
    context : str
        "none" for the front end alone, "basic" or "large". All share the front end's names, so that one
        with context can start from the weights of one without, as in the paper.
    backbone : str
        "vgg16_bn", or the paper's "vgg16" without batch normalisation.
    width : int
        Feature maps of the backbone's first stage; 64 in the paper.
    fc : int
        Feature maps of the layers that were fully connected; 4096 in the paper.
    dropout : float
        Share of values that are dropped after each of those in training.

    Raises
    ------
    ValueError
        If an argument is impossible.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        context: str = "basic",
        backbone: str = "vgg16_bn",
        width: int = 64,
        fc: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError("A dilated network needs at least one class.")
        self.classes = classes
        self.backbone = make_vgg(backbone, channels, output_stride=8, width=width)
        self.stride = self.backbone.strides[-1]
        self.head = ConvolutionalHead(self.backbone.widths[-1], fc, self.backbone.dilation, dropout)
        self.score = nn.Conv2d(fc, classes, 1)
        initialise(self.score)
        self.context = None if context == "none" else Context(classes, context)
        scores = self.head.reach + (0 if self.context is None else self.context.reach)
        # Bilinear interpolation depends on scores less than their own spacing away.
        self.reach = self.backbone.reaches[-1] + self.stride * (scores + 1) + self.stride // 2

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        scores: Tensor = self.score(self.head(self.backbone(images)[-1]))
        if self.context is not None:
            scores = self.context(scores)
        return resize(scores, images)


def _initialise_as_identity(layer: nn.Conv2d, classes: int, noise: float) -> None:
    """Let the sum of each class' maps pass, shared out among that class' maps of the outcome (equation 5).

    Map a of the input belongs to class floor(a * classes / inputs), and likewise for the outcome; with as
    many maps as classes this is the identity of equation 4.
    """
    of_input = torch.arange(layer.in_channels) * classes // layer.in_channels
    of_output = torch.arange(layer.out_channels) * classes // layer.out_channels
    same = of_output[:, None] == of_input[None, :]
    share = classes / layer.out_channels
    middle = layer.kernel_size[0] // 2
    with torch.no_grad():
        layer.weight.normal_(0.0, noise * share)
        layer.weight[:, :, middle, middle].masked_fill_(same, share)
        if layer.bias is not None:
            layer.bias.zero_()
