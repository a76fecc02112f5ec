"""Pixel measures of a segmentation into classes, all from one confusion matrix.

Definitions: Feilles, "Convolutional neural networks for heart MRIs segmentation" (thesis, 2018), section 3.1,
equations 3.1.1 to 3.1.8, after Garcia-Garcia et al., arXiv:1704.06857 (2017). p_ij is the number of pixels of
class i that were found to be of class j; class 0 is the background. Where a class has no pixels to divide by,
its measure is not a number, and means over classes leave it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]
Values = NDArray[np.float64]


def confusion_matrix(truth: NDArray[np.integer], found: NDArray[np.integer], classes: int) -> Confusion:
    """Count pixels by their true class and the one found.

    Parameters
    ----------
    truth, found : integer arrays of one shape
        Classes from 0 to `classes` - 1.
    classes : int
        How many there are, the background included.

    Returns
    -------
    (classes, classes) int64 array
        Rows are true classes, columns those found.

    Raises
    ------
    ValueError
        If the shapes differ, or a pixel holds another class.
    """
    if truth.shape != found.shape:
        raise ValueError(f"Labels of {truth.shape} and {found.shape} pixels cannot be compared.")
    for labels in (truth, found):
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(f"Labels must lie from 0 to {classes - 1}.")
    pairs = truth.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def against_rest(matrix: Confusion, index: int) -> Confusion:
    """Merge all classes but one: a (2, 2) matrix of the rest, 0, and the class, 1."""
    both = matrix[index, index]
    missed, extra = matrix[index].sum() - both, matrix[:, index].sum() - both
    return np.array([[matrix.sum() - both - missed - extra, extra], [missed, both]], dtype=np.int64)


def pixel_accuracy(matrix: Confusion) -> float:
    """Share of all pixels whose class was found (equation 3.1.1)."""
    return float(_ratio(np.trace(matrix), matrix.sum()))


def mean_pixel_accuracy(matrix: Confusion) -> float:
    """Mean over classes of the share of their pixels that were found (equation 3.1.2)."""
    return _mean(_ratio(np.diag(matrix), matrix.sum(axis=1)))


def class_iou(matrix: Confusion) -> Values:
    """Intersection over union of each class (equation 3.1.3)."""
    return _ratio(np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix))


def mean_iou(matrix: Confusion) -> float:
    """Mean over classes of the intersection over union (MIoU, equation 3.1.4)."""
    return _mean(class_iou(matrix))


def frequency_weighted_iou(matrix: Confusion) -> float:
    """Mean of the classes' intersections over union, each weighted by its true pixels (equation 3.1.5)."""
    frequency = matrix.sum(axis=1)
    return float(_ratio(np.nansum(frequency * class_iou(matrix)), frequency.sum()))


def class_dice(matrix: Confusion) -> Values:
    """Dice coefficient of each class (equations 3.1.6 to 3.1.8)."""
    return _ratio(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def mean_dice(matrix: Confusion) -> float:
    """Mean over classes of the Dice coefficient (as in the thesis' tables 1 and 3)."""
    return _mean(class_dice(matrix))


PIXEL_MEASURES = {
    "pixel_accuracy": pixel_accuracy,
    "mean_pixel_accuracy": mean_pixel_accuracy,
    "mean_iou": mean_iou,
    "frequency_weighted_iou": frequency_weighted_iou,
    "mean_dice": mean_dice,
}
"""Measures of all classes together, by name."""


def _ratio(part: NDArray[np.integer] | np.number, whole: NDArray[np.integer] | np.number) -> Values:
    """Divide; not a number where the whole is nothing."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.asarray(np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0))


def _mean(values: Values) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
