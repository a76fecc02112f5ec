"""How far apart the borders of two masks lie, in mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Distances = NDArray[np.float64]

_NONE = np.empty(0)


def border(mask: Mask) -> Mask:
    """Give the elements of a mask (y, x) or (z, y, x) that face its outside: its contour, or its surface.

    An element belongs to the border where one that shares an edge (in 3D: a face) with it is not in the mask;
    beyond the array's own limits nothing is.
    """
    return np.asarray(mask & ~ndimage.binary_erosion(mask))


def surface_distances(a: Mask, b: Mask, spacing: Sequence[float]) -> tuple[Distances, Distances]:
    """Measure from each element of one mask's border the way to the nearest of the other's.

    Parameters
    ----------
    a, b : (y, x) or (z, y, x) bool array
        Two masks on one grid.
    spacing : sequence of float
        Distance in mm between neighbours along each axis. With (dy, dx) the distances lie within a slice;
        with (dz, dy, dx), dz being the slice distance, they run through the volume.

    Returns
    -------
    (float64 array, float64 array)
        In mm, from each border element of `a` to `b` and from each of `b` to `a`; both empty where a mask is
        empty, since nothing has a distance to nothing.

    Raises
    ------
    ValueError
        If the masks differ in shape, or the spacing is not one positive number an axis.
    """
    if a.shape != b.shape:
        raise ValueError(f"Masks of {a.shape} and {b.shape} elements lie on different grids.")
    if len(spacing) != a.ndim or not all(0 < step < float("inf") for step in spacing):
        raise ValueError(f"Masks of {a.ndim} axes need as many positive spacings, not {tuple(spacing)}.")
    if not (a.any() and b.any()):
        return _NONE, _NONE
    # Every border lies in the box around both masks, so that is all that needs to be looked at.
    (box,) = ndimage.find_objects((a | b).astype(np.uint8))
    border_a, border_b = border(a[box]), border(b[box])
    to_a = ndimage.distance_transform_edt(~border_a, sampling=spacing)
    to_b = ndimage.distance_transform_edt(~border_b, sampling=spacing)
    return to_b[border_a], to_a[border_b]


def hausdorff95(a_to_b: Distances, b_to_a: Distances) -> float | None:
    """Hausdorff distance in mm that disregards the farthest 5 % of either border; None without borders.

    The greater of the two directed 95th percentiles.

    Source: the partial distance, at a rank of 95 %, of Huttenlocher et al., "Comparing images using the
    Hausdorff distance", IEEE TPAMI 15 (1993).
    """
    if not (a_to_b.size and b_to_a.size):
        return None
    return float(max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95)))


def average_surface_distance(a_to_b: Distances, b_to_a: Distances) -> float | None:
    """Average symmetric surface distance in mm; None without borders.

    The mean over the elements of both borders, so that the longer border weighs more.

    Source: Heimann et al., "Comparison and evaluation of methods for liver segmentation from CT datasets",
    IEEE TMI 28 (2009).
    """
    if not (a_to_b.size and b_to_a.size):
        return None
    return float((a_to_b.sum() + b_to_a.sum()) / (a_to_b.size + b_to_a.size))
