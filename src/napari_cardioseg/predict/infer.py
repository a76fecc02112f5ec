"""Class probabilities of many images, batch by batch, on whatever device there is."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.predict.device import mixed_precision
from napari_cardioseg.predict.tiles import logits_of

Flips = tuple[int, ...]
TEST_TIME_FLIPS: tuple[Flips, ...] = ((), (-1,), (-2,), (-2, -1))
"""Mirrored axes of each test-time augmentation; the first is the image as it is."""


@torch.inference_mode()
def probabilities(network: SegmentationNetwork, images: Tensor, flips: tuple[Flips, ...] = ((),)) -> Tensor:
    """Average a network's class probabilities over mirrored copies of one batch.

    Parameters
    ----------
    network : SegmentationNetwork
        In evaluation mode, on the images' device.
    images : (batch, y, x) float32 tensor
        Normalised images.
    flips : tuple of tuples of int
        Axes to mirror, one copy each.

    Returns
    -------
    (batch, classes, y, x) float32 tensor
        Summing to 1 over the classes.
    """
    batch = images[:, None].contiguous(memory_format=torch.channels_last)
    total: Tensor | None = None
    with mixed_precision(images.device):
        for axes in flips:
            logits = logits_of(network, batch.flip(axes) if axes else batch)
            p = logits.softmax(dim=1)
            p = p.flip(axes) if axes else p
            total = p if total is None else total + p
    if total is None:
        raise ValueError("At least one copy of the images has to be computed.")
    return total / len(flips)


def batches(n: int, size: int) -> Generator[slice, None, None]:
    """Part `n` items into slices of at most `size`."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
