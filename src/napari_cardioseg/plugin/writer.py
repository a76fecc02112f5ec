"""napari's door for saving masks as NIfTI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import Cine, DataError, Geometry
from napari_cardioseg.plugin.layer_data import METADATA_KEY


def write_labels(path: str, data: NDArray[Any], attributes: Mapping[str, Any]) -> list[str]:
    """Write a labels layer of 2 to 4 dimensions as NIfTI.

    The grid in the patient is that of the cine which the layer was made for, else the layer's scale. States
    of slices are only in files saved from the CardioSeg dock.

    Raises
    ------
    DataError
        If the layer has more dimensions, values beyond 255, or the file cannot be written.
    """
    from napari_cardioseg.io.nifti import write_nifti_labels

    data = np.asarray(data)
    if not 2 <= data.ndim <= 4:
        raise DataError(f"NIfTI labels have 2 to 4 dimensions; this layer has {data.ndim}.")
    if data.size and (data.min() < 0 or data.max() > 255):
        raise DataError("NIfTI labels are written with values from 0 to 255; this layer has others.")
    labels = data.astype(np.uint8).reshape((1,) * (4 - data.ndim) + data.shape)
    cine = attributes.get("metadata", {}).get(METADATA_KEY, {}).get("cine")
    if isinstance(cine, Cine) and cine.data.shape == labels.shape:
        geometry, times = cine.geometry, cine.phase_times
    else:
        scale = (1.0, 1.0, *(float(step) for step in attributes.get("scale", (1.0,) * data.ndim)))
        geometry, times = Geometry.from_spacing((scale[-3], scale[-2], scale[-1])), None
    write_nifti_labels(path, labels, geometry, phase_times=times)
    return [path]
