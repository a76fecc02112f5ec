"""Bring images to what a network was trained on, the same in training and in use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import Preprocessing

FloatImages = NDArray[np.float32]

# The networks are trained on hearts scaled and stretched at random by more than this, and pixels left as the
# scanner made them keep borders where the scanner put them; so images within it are not resampled.
_TOLERATED_SCALE = 1.2
_TOLERATED_STRETCH = 1.1

FIELD_OF_VIEW = 340.0
"""Extent in mm of the longer side of an image that does not state its pixel size."""


def normalise(frames: NDArray[np.generic], preprocessing: Preprocessing) -> FloatImages:
    """Clip each frame to its percentiles, then bring it to zero mean and unit standard deviation.

    Being relative to each frame, this makes dark, bright and rescaled copies of an image the same.

    Parameters
    ----------
    frames : (n, y, x) array
        Images in any unit.
    preprocessing : Preprocessing
        The percentiles.

    Returns
    -------
    (n, y, x) float32 array
        A constant frame becomes zeros.
    """
    result = np.empty(frames.shape, dtype=np.float32)
    for i, frame in enumerate(frames):
        values = np.nan_to_num(np.asarray(frame, dtype=np.float32))
        low, high = np.percentile(values, (preprocessing.low_percentile, preprocessing.high_percentile))
        clipped = np.clip(values, low, high)
        spread = float(clipped.std())
        result[i] = (clipped - clipped.mean()) / spread if spread > 0 else 0.0
    return result


def resampling_factor(
    shape: tuple[int, int], pixel_size: tuple[float, float] | None, preprocessing: Preprocessing
) -> tuple[float, float]:
    """Choose the factors along y and x by which an image is enlarged for the network.

    Parameters
    ----------
    shape : (y, x)
        Size of the image in pixels.
    pixel_size : (dy, dx) in mm, or None where unknown
        In-plane spacing of the image; where unknown, the image is taken for `FIELD_OF_VIEW` wide.
    preprocessing : Preprocessing
        States the spacing that the network was trained at.

    Returns
    -------
    (float, float)
        (1, 1) where the spacing is of no matter to the network, or near enough to its own.
    """
    if preprocessing.spacing is None:
        return 1.0, 1.0
    dy, dx = pixel_size or (FIELD_OF_VIEW / max(shape),) * 2
    fy, fx = dy / preprocessing.spacing, dx / preprocessing.spacing
    near = all(1 / _TOLERATED_SCALE <= f <= _TOLERATED_SCALE for f in (fy, fx))
    if near and 1 / _TOLERATED_STRETCH <= fy / fx <= _TOLERATED_STRETCH:
        return 1.0, 1.0
    return fy, fx
