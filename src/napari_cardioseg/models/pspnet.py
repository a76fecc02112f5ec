"""PSPNet, the pyramid scene parsing network (Zhao, Shi, Qi, Wang & Jia 2016, arXiv 1612.01105)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_cardioseg.models.blocks import conv_bn_relu, resize
from napari_cardioseg.models.registry import SegmentationNetwork
from napari_cardioseg.models.resnet import initialise, make_resnet

_AUXILIARY_WEIGHT = 0.4  # the paper's, section 3.3


class PyramidPooling(nn.Module):
    """Means over regions of several sizes beside the features themselves (section 3.2, figure 3c)."""

    def __init__(self, n_in: int, bins: Sequence[int]) -> None:
        super().__init__()
        self.bins = tuple(bins)
        reduced = max(n_in // 4, 1)
        self.reduce = nn.ModuleList(conv_bn_relu(n_in, reduced, 1) for _ in self.bins)
        self.n_out = n_in + len(self.bins) * reduced

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, n_out, y, x) features."""
        pooled = [reduce(region_means(x, n)) for n, reduce in zip(self.bins, self.reduce, strict=True)]
        return torch.cat([x, *(resize(level, x) for level in pooled)], dim=1)


class PSPNet(SegmentationNetwork):
    """A ResNet with atrous rates, pyramid pooling over its features, and an auxiliary loss.

    Every output depends on the whole image, which is the pyramid's purpose: `reach` is None.

    Parameters
    ----------
    channels, classes : int
        Channels of the input image; output channels, the background among them.
    backbone : str
        "resnet18", "resnet34", "resnet50" or "resnet101".
    output_stride : int
        8 in the paper; 16 or 32 are cheaper.
    bins : sequence of int
        Regions along each side, at each level of the pyramid; (1, 2, 3, 6) in the paper. Each level has a
        quarter of the features' channels, as has the convolution after it (512 with the paper's backbones).
    width : int
        Of the backbone; see `ResNet`.
    auxiliary : bool
        Whether a second head learns from the third stage, with 0.4 of the weight.

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
        output_stride: int = 8,
        bins: Sequence[int] = (1, 2, 3, 6),
        width: int = 64,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if classes < 1 or not bins or min(bins) < 1:
            raise ValueError(
                "A PSPNet needs at least one class and at least one level of bins, all positive."
            )
        self.classes = classes
        self.stride = output_stride
        self.reach = None
        self.backbone = make_resnet(backbone, channels, output_stride=output_stride, width=width)
        third, fourth = self.backbone.widths[2:]
        self.pyramid = PyramidPooling(fourth, bins)
        self.classifier = _head(self.pyramid.n_out, max(fourth // 4, 1), classes)
        self.aux_classifier = _head(third, max(third // 4, 1), classes) if auxiliary else None
        initialise(self.pyramid)

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        return resize(self.classifier(self.pyramid(self.backbone(images)[3])), images)

    def training_outputs(self, images: Tensor) -> tuple[tuple[float, Tensor], ...]:
        """Give the logits and, if there is an auxiliary head, its own with weight 0.4."""
        third, fourth = self.backbone(images)[2:]
        outputs = [(1.0, resize(self.classifier(self.pyramid(fourth)), images))]
        if self.aux_classifier is not None:
            outputs.append((_AUXILIARY_WEIGHT, resize(self.aux_classifier(third), images)))
        return tuple(outputs)


def region_means(x: Tensor, bins: int) -> Tensor:
    """Average (batch, channels, y, x) features over bins x bins regions, as adaptive pooling does.

    Written as a product of matrices, because PyTorch's own has no kernel on Apple's devices for sides that
    are no multiple of `bins` (pytorch/pytorch issue 96056), and no deterministic gradient on CUDA.
    """
    rows, columns = (_averaging(side, bins, x.device).to(x.dtype) for side in x.shape[-2:])
    return rows @ x @ columns.T


def _averaging(side: int, bins: int, device: torch.device) -> Tensor:
    """Give the (bins, side) matrix whose rows average the parts of an axis."""
    part = torch.arange(bins, device=device)[:, None]
    place = torch.arange(side, device=device)
    inside = (place >= part * side // bins) & (place < -(-(part + 1) * side // bins))
    return inside / inside.sum(dim=1, keepdim=True)


def _head(n_in: int, inner: int, classes: int) -> nn.Sequential:
    head = nn.Sequential(*conv_bn_relu(n_in, inner), nn.Dropout(0.1))
    initialise(head)
    # Drawn by its few outgoing classes too, the last would start with scores of great confidence.
    return head.append(nn.Conv2d(inner, classes, 1))
