"""One annotated image, as training and evaluation take it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One image with its labels.

    Parameters
    ----------
    patient : str
        Name of the patient in the folder's table.
    instance : int
        Number of the image within the patient's series.
    image : (y, x) uint8 or uint16 array
        Intensities as stored.
    labels : (y, x) uint8 array
        Class values; 0 is background.
    known : frozenset of int
        Class values that somebody labelled on this frame. A pixel that is 0 may still belong to a class
        that is missing here.
    pixel_size : (dy, dx) in mm, optional
        In-plane spacing, where known.

    Raises
    ------
    ValueError
        If image and labels differ in shape.
    """

    patient: str
    instance: int
    image: NDArray[np.uint8] | NDArray[np.uint16]
    labels: NDArray[np.uint8]
    known: frozenset[int]
    pixel_size: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.shape != self.labels.shape:
            raise ValueError(
                f"Image {self.image.shape} and labels {self.labels.shape} must share one (y, x)."
            )
