"""Where the heart is: a square that holds it on every frame of a stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SIDE = 128
"""Side of the region in pixels of the network's grid; at 1.33 mm it spans 170 mm."""

_BLUR = 12.0  # pixels: about half a ventricle's radius, so that a peak means a whole ventricle


@dataclass(frozen=True)
class Region:
    """A rectangle of the network's pixel grid; stops are exclusive."""

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def region_of_heart(evidence: NDArray[np.floating], shape: tuple[int, int], side: int = SIDE) -> Region:
    """Find the square that holds the heart.

    A second bright ring (stomach, vessel, chest wall) fools the network on a frame or two, but the heart
    is at one place on all frames of a stack: the sum of all frames' evidence peaks there.

    Parameters
    ----------
    evidence : (y, x) array
        Sum over frames of the probability of heart, on a grid of which one cell may stand for several
        pixels.
    shape : (int, int)
        Size (y, x) of the frames in pixels.
    side : int
        Side of the square in pixels.

    Returns
    -------
    Region
        Inside the frame; the whole frame along an axis that is shorter than the square.
    """
    cell = shape[0] / evidence.shape[0], shape[1] / evidence.shape[1]
    smooth = gaussian_filter(evidence.astype(np.float64), (_BLUR / cell[0], _BLUR / cell[1]), mode="constant")
    peak = np.unravel_index(int(smooth.argmax()), smooth.shape)
    spans = []
    for place, step, length in zip(peak, cell, shape, strict=True):
        size = min(side, length)
        centre = (int(place) + 0.5) * step
        start = min(max(round(centre - size / 2), 0), length - size)
        spans.append(slice(start, start + size))
    return Region(spans[0], spans[1])
