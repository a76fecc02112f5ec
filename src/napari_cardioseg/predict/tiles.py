"""Networks over images of any size: borders mirrored, large images in overlapping tiles.

The overlap-tile strategy of Ronneberger et al. (2015), section 2: what a tile needs beyond its border comes
from the image. An image whose sides the network's stride does not divide is completed by its mirror.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_cardioseg.models import SegmentationNetwork

LARGEST_SIDE = 512
"""Images with a longer side than this many pixels are computed in tiles, to bound the memory."""


@dataclass(frozen=True)
class _Span:
    """A piece of an axis: `read` it with its margins, keep `write` of it, which is `read[keep]`."""

    read: slice
    write: slice
    keep: slice


def logits_of(network: SegmentationNetwork, images: Tensor, *, largest_side: int = LARGEST_SIDE) -> Tensor:
    """Compute a network's logits over whole images of any size.

    Parameters
    ----------
    network : SegmentationNetwork
        In evaluation mode, on the images' device.
    images : (batch, channels, y, x) float32 tensor
        Normalised images.
    largest_side : int
        Side of the largest piece given to the network at once; the margin that it needs comes on top.

    Returns
    -------
    (batch, classes, y, x) float32 tensor
        The same, to rounding, whether computed at once or in tiles.
    """
    height, width = images.shape[-2:]
    padded = _mirror_to_multiple(images, network.stride)
    # A network that looks at the whole image (image-level pooling) has to be shown the whole image.
    if network.reach is None or max(padded.shape[-2:]) <= largest_side:
        return network(padded)[..., :height, :width].float()
    margin = -(-network.reach // network.stride) * network.stride
    step = max(largest_side // network.stride, 1) * network.stride
    result: Tensor | None = None
    for rows in _spans(padded.shape[-2], step, margin):
        for columns in _spans(padded.shape[-1], step, margin):
            tile = network(padded[..., rows.read, columns.read])[..., rows.keep, columns.keep].float()
            if result is None:
                result = tile.new_empty((*tile.shape[:2], *padded.shape[-2:]))
            result[..., rows.write, columns.write] = tile
    assert result is not None  # an image has at least one tile
    return result[..., :height, :width]


def _spans(length: int, step: int, margin: int) -> Iterator[_Span]:
    for start in range(0, length, step):
        stop = min(start + step, length)
        low, high = max(start - margin, 0), min(stop + margin, length)
        yield _Span(slice(low, high), slice(start, stop), slice(start - low, stop - low))


def _mirror_to_multiple(images: Tensor, stride: int) -> Tensor:
    """Extend images below and to the right to multiples of `stride`, mirrored as often as needed."""
    for axis in (-2, -1):
        size = images.shape[axis]
        wanted = -(-size // stride) * stride
        if wanted == size:
            continue
        ramp = torch.arange(wanted, device=images.device)
        period = max(2 * (size - 1), 1)
        folded = ramp % period
        images = images.index_select(
            axis % images.ndim, torch.minimum(folded, period - folded).clamp(max=size - 1)
        )
    return images
