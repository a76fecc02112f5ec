"""Anatomical clean-up: one ventricle, whole, at the place where all frames see it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_cardioseg.domain import LabelScheme

Labels = NDArray[np.uint8]
_CONNECTED = np.ones((3, 3), dtype=bool)

# A wall may be seen as two arcs, where the outflow tract parts it; a cavity is always one.
_LEAST_ARC = 0.2

_LEAST_HEART = 10  # pixels: less is a speck where the network wavered, not the tip of a ventricle


def clean_up(labels: Labels, evidence: NDArray[np.floating], scheme: LabelScheme) -> Labels:
    """Keep on each frame the one heart that the whole stack supports, without holes or islands.

    Of a frame's connected foreground components the one that gathers the most evidence stays. Within it
    a cavity keeps its largest component, the myocardium also arcs of a fifth of its largest or more; the
    rest, and every hole that the foreground encloses, takes the class that borders it most. A mask of a few
    pixels in all is wiped.

    Parameters
    ----------
    labels : (n, y, x) uint8 array
        Class values of frames of one stack.
    evidence : (y, x) array
        Sum over frames of the whole stack of the probability of heart: high where most of them see it.
    scheme : LabelScheme
        The classes.

    Returns
    -------
    (n, y, x) uint8 array
        A cleaned copy.
    """
    result = np.zeros_like(labels)
    for i, frame in enumerate(labels):
        if frame.any():
            cleaned = _clean_frame(frame, evidence, scheme)
            result[i] = cleaned if np.count_nonzero(cleaned) >= _LEAST_HEART else 0
    return result


def _clean_frame(frame: Labels, evidence: NDArray[np.floating], scheme: LabelScheme) -> Labels:
    components, n = ndimage.label(frame > 0, structure=_CONNECTED)
    if n > 1:
        support = ndimage.sum_labels(evidence, components, index=np.arange(1, n + 1))
        frame = np.where(components == 1 + int(np.argmax(support)), frame, 0).astype(np.uint8)
    for c in scheme:
        frame = _without_islands(frame, c.value, _LEAST_ARC if c.key == "myo" else 1.0)
    return _without_holes(frame)


def _without_islands(frame: Labels, value: int, least: float) -> Labels:
    """Give the components of a class under `least` of its largest to the class around them."""
    components, n = ndimage.label(frame == value, structure=_CONNECTED)
    if n <= 1:
        return frame
    sizes = np.bincount(components.ravel())[1:]
    islands = sizes < least * sizes.max()
    if least == 1.0:
        islands = np.arange(n) != int(sizes.argmax())  # of two equal cavities only one stays
    cleaned = frame.copy()
    for index in np.flatnonzero(islands) + 1:
        cleaned[components == index] = _surroundings(frame, components == index)
    return cleaned


def _without_holes(frame: Labels) -> Labels:
    """Fill background that the foreground encloses with the class that borders it most."""
    holes, n = ndimage.label(ndimage.binary_fill_holes(frame > 0) & (frame == 0))
    filled = frame.copy()
    for index in range(1, n + 1):
        filled[holes == index] = _surroundings(frame, holes == index)
    return filled


def _surroundings(frame: Labels, part: NDArray[np.bool_]) -> int:
    """Give the commonest value along the outside of a part."""
    rim = ndimage.binary_dilation(part, structure=_CONNECTED) & ~part
    return int(np.bincount(frame[rim]).argmax())
