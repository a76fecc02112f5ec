"""Fully convolutional networks (Long, Shelhamer & Darrell, CVPR 2015, arXiv 1411.4038) on VGG16."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from napari_cardioseg.models.blocks import bilinear_upsampling
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.vgg import ConvolutionalHead, initialise, make_vgg


class FCN32s(SegmentationNetwork):
    """VGG16 as a convolutional network, its scores brought to the image's size in one step.

    The paper pads the image by 100 pixels for the 7 x 7 convolution and crops the outcome; here padding
    within the network keeps every map at the image's size over its stride, which computes nothing that is
    thrown away and keeps maps and image aligned. The paper starts with scores of zero, which it found to
    be no better than random ones; here they are random, so that all layers learn from the first step.

    FCN-32s, -16s and -8s share their parameters' names, so that each can start from the weights of the
    coarser one, as in the paper.

    Parameters
    ----------
    channels : int
        Channels of the input image.
    classes : int
        Output channels, the background among them.
    backbone : str
        "vgg16_bn", or the paper's "vgg16" without batch normalisation.
    width : int
        Feature maps of the backbone's first stage; 64 in the paper.
    fc : int
        Feature maps of the layers that were fully connected; 4096 in the paper.
    dropout : float
        Share of values that are dropped after each of those in training.
    learn_last : bool
        Whether the last upsampling is learnt too, from bilinear; the paper keeps it bilinear and learns
        those before it (section 4.3).

    Raises
    ------
    ValueError
        If an argument is impossible.
    """

    _SKIPS: ClassVar[tuple[int, ...]] = ()  # stages whose pooled features are scored too, the coarser first

    def __init__(
        self,
        channels: int = 1,
        classes: int = 3,
        backbone: str = "vgg16_bn",
        width: int = 64,
        fc: int = 4096,
        dropout: float = 0.5,
        learn_last: bool = False,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError("An FCN needs at least one class.")
        self.classes = classes
        self.backbone = make_vgg(backbone, channels, width=width)
        widths, strides = self.backbone.widths, self.backbone.strides
        self.stride = strides[-1]
        self.head = ConvolutionalHead(widths[-1], fc, dropout=dropout)
        self.score = nn.Conv2d(fc, classes, 1)
        initialise(self.score)
        self.score_pools = nn.ModuleList(nn.Conv2d(widths[stage], classes, 1) for stage in self._SKIPS)
        for score in self.score_pools.parameters():
            nn.init.zeros_(score)  # section 4.2: the finer network starts out as the coarser one
        self.upsample = nn.ModuleList(bilinear_upsampling(classes, 2) for _ in self._SKIPS)
        last = strides[self._SKIPS[-1]] if self._SKIPS else self.stride
        self.upsample_last: nn.Module = (
            bilinear_upsampling(classes, last)
            if learn_last
            else nn.Upsample(scale_factor=last, mode="bilinear", align_corners=False)
        )
        # Bilinear interpolation depends on scores less than their own spacing away.
        upsampling = self.stride + sum(strides[stage] for stage in self._SKIPS)
        coarsest = self.stride // 2 + self.stride * self.head.reach + self.backbone.reaches[-1]
        self.reach = upsampling + coarsest

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        pooled = self.backbone(images)
        scores: Tensor = self.score(self.head(pooled[-1]))
        for stage, score, upsample in zip(self._SKIPS, self.score_pools, self.upsample, strict=True):
            scores = upsample(scores) + score(pooled[stage])
        logits: Tensor = self.upsample_last(scores)
        return logits


class FCN16s(FCN32s):
    """FCN-32s with the scores of the fourth pooling added at stride 16; arguments as for `FCN32s`."""

    _SKIPS = (3,)


class FCN8s(FCN32s):
    """FCN-16s with the scores of the third pooling added at stride 8; arguments as for `FCN32s`."""

    _SKIPS = (3, 2)
