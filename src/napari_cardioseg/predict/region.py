"""Where the heart is: a square that holds it on every frame of a stack."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

SIDE = 170.0
"""Side of the region in mm; a network sees as much of the chest at any pixel size."""

_BLUR = 3 / 32  # of the side, 16 mm: about half a ventricle's radius, so that a peak means a whole ventricle

# A region that falls short by no more than this part of the network's stride is not enlarged by another.
_SHORT = 0.1


@dataclass(frozen=True)
class Region:
    """A rectangle of the network's pixel grid; stops are exclusive."""

    rows: slice
    columns: slice

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Region:
        """Give the region that is the whole frame of this size (y, x)."""
        return cls(slice(0, shape[0]), slice(0, shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Place:
    """A region of the network's grid, and where it lies on the images' own pixels.

    Parameters
    ----------
    region : Region
        On the network's grid.
    shape, native : (y, x)
        Sizes of whole frames on the network's grid and on their own.
    """

    region: Region
    shape: tuple[int, int]
    native: tuple[int, int]

    @property
    def window(self) -> Region:
        """The native pixels whose centres lie in the region."""
        spans = []
        for span, n, m in zip((self.region.rows, self.region.columns), self.shape, self.native, strict=True):
            start, stop = (math.ceil(edge * m / n - 0.5) for edge in (span.start, span.stop))
            spans.append(slice(max(start, 0), min(stop, m)))
        return Region(spans[0], spans[1])

    def spread(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the evidence (y, x), gathered in cells over whole frames, at each pixel of the window."""
        pixels = F.interpolate(torch.from_numpy(evidence)[None, None], size=self.shape, mode="bilinear")
        near = self.to_native(pixels[..., self.region.rows, self.region.columns])
        return np.asarray(near[0, 0].numpy())

    def to_native(self, p: Tensor) -> Tensor:
        """Bring probabilities (n, classes, y, x) of the region to the native pixels of the window."""
        if self.shape == self.native:
            return p
        window, axes = self.window, []
        for here, there, n, m in zip(
            (self.region.rows, self.region.columns),
            (window.rows, window.columns),
            self.shape,
            self.native,
            strict=True,
        ):
            centres = (torch.arange(there.start, there.stop) + 0.5) * n / m - here.start
            axes.append(2 * centres / (here.stop - here.start) - 1)
        grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)
        grid = grid[None].expand(len(p), -1, -1, -1).to(p.dtype)
        return F.grid_sample(p, grid, mode="bilinear", padding_mode="border", align_corners=False)


def sides_in_pixels(pixel_size: tuple[float, float], stride: int) -> tuple[int, int]:
    """Give the region's sides along y and x in pixels of a grid, rounded up to a network's stride."""
    dy, dx = (max(math.ceil(SIDE / size / stride - _SHORT), 1) * stride for size in pixel_size)
    return dy, dx


def region_of_heart(evidence: NDArray[np.floating], shape: tuple[int, int], sides: tuple[int, int]) -> Region:
    """Find the rectangle that holds the heart.

    A second bright ring (stomach, vessel, chest wall) fools the network on a frame or two, but the heart
    is at one place on all frames of a stack: the sum of all frames' evidence peaks there.

    Parameters
    ----------
    evidence : (y, x) array
        Sum over frames of the probability of heart, on a grid of which one cell may stand for several
        pixels.
    shape : (int, int)
        Size (y, x) of the frames in pixels.
    sides : (int, int)
        Sides (y, x) of the rectangle in pixels.

    Returns
    -------
    Region
        Inside the frame; the whole frame along an axis that is shorter than the rectangle.
    """
    cell = shape[0] / evidence.shape[0], shape[1] / evidence.shape[1]
    blur = sides[0] * _BLUR / cell[0], sides[1] * _BLUR / cell[1]
    smooth = gaussian_filter(evidence.astype(np.float64), blur, mode="constant")
    peak = np.unravel_index(int(smooth.argmax()), smooth.shape)
    spans = []
    for place, step, length, side in zip(peak, cell, shape, sides, strict=True):
        size = min(side, length)
        centre = (int(place) + 0.5) * step
        start = min(max(round(centre - size / 2), 0), length - size)
        spans.append(slice(start, start + size))
    return Region(spans[0], spans[1])
