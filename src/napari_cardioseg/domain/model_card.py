"""What a model file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_cardioseg.domain.labels import LV_SCHEME, LabelScheme


@dataclass(frozen=True)
class Preprocessing:
    """How images are made ready for a network, the same in training and in use.

    Parameters
    ----------
    spacing : float, optional
        In-plane pixel size in mm that the network was trained at; images whose spacing is known are
        resampled to it. None leaves images as they are.
    low_percentile, high_percentile : float
        Intensities are clipped to these percentiles of each frame, then brought to zero mean and unit
        standard deviation, so that dark and bright scans look alike.

    Raises
    ------
    ValueError
        If a value is impossible.
    """

    spacing: float | None = None
    low_percentile: float = 0.5
    high_percentile: float = 99.5

    def __post_init__(self) -> None:
        if self.spacing is not None and not 0 < self.spacing < float("inf"):
            raise ValueError(f"A pixel size of {self.spacing} mm is not possible.")
        if not 0 <= self.low_percentile < self.high_percentile <= 100:
            raise ValueError("The percentiles to clip at must lie between 0 and 100, the low one first.")


@dataclass(frozen=True)
class ModelCard:
    """A model's description, stored beside its weights.

    Parameters
    ----------
    name : str
        Unique name of this version.
    network : mapping
        Registry name and arguments from which `models.build_network` makes the network.
    scheme : LabelScheme
        Output channel i > 0 is the i-th class; channel 0 is background.
    preprocessing : Preprocessing
        How its input is prepared.
    training : mapping
        Data fingerprint, patients, recipe and software of the training run.
    metrics : mapping
        Measured results with the data they were measured on.
    parent : str
        Name of the version that it was trained from; empty for training from scratch.
    description : str
        A sentence for the user who chooses among models.
    """

    name: str
    network: Mapping[str, Any]
    scheme: LabelScheme = LV_SCHEME
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    description: str = ""
