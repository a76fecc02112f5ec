"""Judge in which plane of the heart or body a stack was taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.io.series import SHORT_AXIS

LONG_AXIS = "long axis"
# The left ventricle's long axis in most people, from apex to base, LPS.
_HEART_AXIS = np.array((-0.70, 0.58, 0.42)) / np.linalg.norm((-0.70, 0.58, 0.42))
_MAIN_PLANES = ("sagittal", "coronal", "axial")
_MAIN_COSINE = np.cos(np.radians(15))
_SHORT_AXIS_COSINE = np.cos(np.radians(40))
_LONG_AXIS_COSINE = np.cos(np.radians(60))
_WORDS = {
    SHORT_AXIS: ("short axis", "shortaxis", "sax", "sa", "ksa", "kurzachse", "petit axe", "eje corto"),
    LONG_AXIS: (
        *("long axis", "longaxis", "lax", "2ch", "3ch", "4ch", "2 ch", "3 ch", "4 ch"),
        *("2chamber", "4chamber", "2 chamber", "3 chamber", "4 chamber", "two chamber", "four chamber"),
        *("three chamber", "hla", "vla", "lvot"),
    ),
}


def plane_of(description: str, normal: NDArray[np.float64], *, n_phases: int) -> str:
    """Judge the plane of a stack.

    The description decides where it names a view ("SAX", "4ch"). Otherwise the normal does: within 15
    degrees of a body axis the plane is axial, coronal or sagittal; within 40 degrees of the usual
    direction of the heart's long axis (LPS -0.70, 0.58, 0.42 from apex to base) it is a short axis; and
    a cine more than 60 degrees from that direction is a long axis. All else is oblique.

    Parameters
    ----------
    description : str
        What the scanner, or the file's name, calls the series.
    normal : (3,) array
        Unit normal of the slices, LPS.
    n_phases : int
        Number of phases.
    """
    words = "".join(c if c.isalnum() else " " for c in description.lower().replace("_", " "))
    padded = f" {' '.join(words.split())} "
    for plane, names in _WORDS.items():
        if any(f" {name} " in padded for name in names):
            return plane
    main = int(np.argmax(np.abs(normal)))
    if abs(normal[main]) >= _MAIN_COSINE:
        return _MAIN_PLANES[main]
    cosine = abs(float(normal @ _HEART_AXIS))
    if cosine >= _SHORT_AXIS_COSINE:
        return SHORT_AXIS
    return LONG_AXIS if n_phases > 1 and cosine <= _LONG_AXIS_COSINE else "oblique"
