"""Pieces that several networks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn_relu(
    n_in: int, n_out: int, kernel: int = 3, *, dilation: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Make a convolution that keeps the size (at stride 1), batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            n_in,
            n_out,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=groups,
            bias=False,  # batch normalisation brings the bias
        ),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bring (batch, channels, y, x) features to the size of `like`, bilinearly."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def bilinear_upsampling(channels: int, factor: int, *, learn: bool = True) -> nn.ConvTranspose2d:
    """Make a transposed convolution that starts as bilinear interpolation (Long et al. 2015, section 3.3).

    Parameters
    ----------
    channels : int
        Channels of input and output; each starts out interpolated by itself.
    factor : int
        Even, or 1: the output is this many times as large as the input.
    learn : bool
        Whether training may change it.
    """
    kernel = 2 * factor - factor % 2
    layer = nn.ConvTranspose2d(
        channels, channels, kernel, stride=factor, padding=(kernel - factor) // 2, bias=False
    )
    centre = (kernel - 1) / 2
    ramp = 1 - (torch.arange(kernel) - centre).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel] = ramp[:, None] * ramp[None, :]
    return layer.requires_grad_(learn)
