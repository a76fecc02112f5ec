"""Bring images to what a network was trained on, the same in training and in use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import Preprocessing

FloatImages = NDArray[np.float32]

# The networks are trained on hearts scaled at random by more than this, and pixels left as the scanner
# made them keep borders where the scanner put them; so images within it are not resampled.
_TOLERATED_SCALE = 1.2


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
    pixel_size: tuple[float, float] | None, preprocessing: Preprocessing
) -> tuple[float, float]:
    """Choose the factors along y and x by which an image is enlarged for the network.

    Parameters
    ----------
    pixel_size : (dy, dx) in mm, or None where unknown
        In-plane spacing of the image.
    preprocessing : Preprocessing
        States the spacing that the network was trained at.

    Returns
    -------
    (float, float)
        (1, 1) where the spacing is unknown, of no matter, or near enough to the network's own.
    """
    if pixel_size is None or preprocessing.spacing is None:
        return 1.0, 1.0
    fy, fx = (size / preprocessing.spacing for size in pixel_size)
    if all(1 / _TOLERATED_SCALE <= f <= _TOLERATED_SCALE for f in (fy, fx)):
        return 1.0, 1.0
    return fy, fx
