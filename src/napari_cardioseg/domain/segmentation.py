"""A labelled cine: the masks, and for each slice how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain.labels import LV_SCHEME, LabelScheme


class SliceState(IntEnum):
    """How far one slice of one phase has come."""

    EMPTY = 0
    PREDICTED = 1
    EDITED = 2
    ACCEPTED = 3

    @property
    def is_users(self) -> bool:
        """Whether the reader has touched it, so that no model may change it."""
        return self >= SliceState.EDITED


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels of a cine with the state of every slice.

    Parameters
    ----------
    labels : (t, z, y, x) uint8 array
        Pixel values of `scheme`; 0 is background.
    scheme : LabelScheme
        What the values mean.
    states : (t, z) uint8 array, optional
        A `SliceState` each; by default EMPTY everywhere.
    uncertainty : (t, z) float32 array, optional
        The model's uncertainty in 0 (sure) to 1, NaN where nothing was predicted.
    origin : str
        Name of the model that made the labels first, empty where none did.

    Raises
    ------
    ValueError
        If shapes or the label dtype are wrong.
    """

    labels: NDArray[np.uint8]
    scheme: LabelScheme = LV_SCHEME
    states: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.uint8))
    uncertainty: NDArray[np.float32] | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        if self.labels.ndim != 4 or self.labels.dtype != np.uint8:
            raise ValueError("Labels are a (t, z, y, x) array of uint8.")
        grid = self.labels.shape[:2]
        if self.states.size == 0:
            object.__setattr__(self, "states", np.zeros(grid, dtype=np.uint8))
        if self.states.shape != grid:
            raise ValueError(f"Slice states have shape {self.states.shape}, the labels' grid is {grid}.")
        if self.uncertainty is not None and self.uncertainty.shape != grid:
            raise ValueError(f"Uncertainty has shape {self.uncertainty.shape}, the labels' grid is {grid}.")
