"""A cine and its labels as the LayerData tuples that npe2 exchanges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import Cine, LabelScheme, Segmentation

LayerData = tuple[NDArray[Any], dict[str, Any], str]

METADATA_KEY = "napari-cardioseg"
"""Key of a layer's metadata under which the cine travels, so that the dock can adopt the layer."""


MASK_OPACITY = 0.45


def name_of(cine: Cine) -> str:
    """Name a cine by its patient and its description, as far as the source gives them."""
    return ", ".join(word for word in (cine.patient_id, cine.description) if word) or "cine"


def cine_layer(cine: Cine) -> LayerData:
    """Give a cine as an image layer, in the window that the scanner asked for."""
    low, high = cine.display_range()
    attributes = {
        "name": cine.description or name_of(cine),
        "colormap": "gray",
        "contrast_limits": (low, high),
        "interpolation2d": "linear",
        **_grid(cine),
        "metadata": {METADATA_KEY: {"cine": cine}},
    }
    return cine.data, attributes, "image"


def labels_layer(cine: Cine, segmentation: Segmentation) -> LayerData:
    """Give the labels of a cine as a labels layer whose classes have names and colours."""
    scheme = segmentation.scheme
    attributes = {
        "name": "masks",
        "colormap": colours(scheme),
        "features": structures(scheme),
        "opacity": MASK_OPACITY,
        **_grid(cine),
        "metadata": {METADATA_KEY: {"cine": cine, "segmentation": segmentation}},
    }
    return segmentation.labels.copy(), attributes, "labels"


def colours(scheme: LabelScheme) -> dict[int | None, tuple[float, float, float, float]]:
    """Map label values to red, green, blue and opacity; what the scheme does not name stays invisible."""
    clear = (0.0, 0.0, 0.0, 0.0)
    return {None: clear, 0: clear, **{c.value: (*c.colour, 1.0) for c in scheme}}


def structures(scheme: LabelScheme) -> dict[str, NDArray[Any]]:
    """Name the label values, in the form of a layer's features; napari shows them in its status bar."""
    return {
        "index": np.array([0, *scheme.values]),
        "structure": np.array(["background", *(c.name for c in scheme)]),
    }


def _grid(cine: Cine) -> dict[str, Any]:
    """Scale, units and axis labels; pixels stand in for times or lengths that the source does not give."""
    times = cine.phase_times
    step = (times[-1] - times[0]) / (len(times) - 1) if times is not None and len(times) > 1 else 0.0
    length = "mm" if cine.geometry.calibrated else "pixel"
    return {
        "scale": (step if step > 0 else 1.0, *cine.geometry.spacing),
        "units": ("ms" if step > 0 else "pixel", length, length, length),
        "axis_labels": ("t", "z", "y", "x"),
    }
