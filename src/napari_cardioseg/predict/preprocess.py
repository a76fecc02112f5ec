"""Bring images to what a network was trained on, the same in training and in use."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_cardioseg.domain import Preprocessing
from napari_cardioseg.predict.intensity import FloatImages, measure

# The networks are trained on hearts scaled and stretched at random by more than this, and pixels left as the
# scanner made them keep borders where the scanner put them; so images within it are not resampled.
_TOLERATED_SCALE = 1.2
_TOLERATED_STRETCH = 1.1

FIELD_OF_VIEW = 340.0
"""Extent in mm of the longer side of an image that does not state its pixel size."""


def normalise(frames: NDArray[np.generic], preprocessing: Preprocessing) -> FloatImages:
    """Bring intensities to the network's scale: every frame by itself, or all together, as the scope says.

    Being relative, this makes dark, bright and rescaled copies of an image the same.

    Parameters
    ----------
    frames : (n, y, x) array
        Images in any unit; of one volume or one patient where that is the scope.
    preprocessing : Preprocessing
        Method and scope.

    Returns
    -------
    (n, y, x) float32 array
        A constant frame becomes zeros.
    """
    if preprocessing.scope != "slice":
        return measure([frames], preprocessing).apply(frames)
    result = np.empty(frames.shape, dtype=np.float32)
    for i, frame in enumerate(frames):
        result[i] = measure([frame], preprocessing).apply(frame)
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
        States the spacing that the network was trained at, or the size.

    Returns
    -------
    (float, float)
        (1, 1) where the spacing is of no matter to the network, or near enough to its own.
    """
    if preprocessing.resize is not None:
        return preprocessing.resize[0] / shape[0], preprocessing.resize[1] / shape[1]
    if preprocessing.spacing is None:
        return 1.0, 1.0
    dy, dx = pixel_size or assumed_pixel_size(shape)
    fy, fx = dy / preprocessing.spacing, dx / preprocessing.spacing
    near = all(1 / _TOLERATED_SCALE <= f <= _TOLERATED_SCALE for f in (fy, fx))
    if near and 1 / _TOLERATED_STRETCH <= fy / fx <= _TOLERATED_STRETCH:
        return 1.0, 1.0
    return fy, fx


def assumed_pixel_size(shape: tuple[int, int]) -> tuple[float, float]:
    """Give the pixel size in mm that an image of this size is taken to have where it states none."""
    return (FIELD_OF_VIEW / max(shape),) * 2


def network_shape(
    shape: tuple[int, int], pixel_size: tuple[float, float] | None, preprocessing: Preprocessing
) -> tuple[int, int]:
    """Give the size (y, x) in pixels of an image on the network's grid (arguments as above)."""
    fy, fx = resampling_factor(shape, pixel_size, preprocessing)
    return max(round(shape[0] * fy), 1), max(round(shape[1] * fx), 1)


def network_pixel_size(
    shape: tuple[int, int], pixel_size: tuple[float, float] | None, preprocessing: Preprocessing
) -> tuple[float, float]:
    """Give the pixel size (dy, dx) in mm of the network's grid: as it was trained, where it states that."""
    if preprocessing.spacing is not None:
        return preprocessing.spacing, preprocessing.spacing
    dy, dx = pixel_size or assumed_pixel_size(shape)
    fy, fx = resampling_factor(shape, pixel_size, preprocessing)
    return dy / fy, dx / fx


def resample(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bring (n, y, x) images or (n, classes, y, x) shares to another size; the whole keeps its extent."""
    if images.shape[-2:] == shape:
        return images
    stacked = images[:, None] if images.ndim == 3 else images
    resized = F.interpolate(stacked, size=shape, mode="bilinear", antialias=True)
    return resized[:, 0] if images.ndim == 3 else resized
