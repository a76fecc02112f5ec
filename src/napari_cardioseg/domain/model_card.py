"""What a model file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from napari_cardioseg.domain.labels import LV_SCHEME, LabelScheme

METHODS = ("zscore", "percentile", "nyul")
SCOPES = ("slice", "volume", "patient")
BIAS_CORRECTIONS = ("none", "n4")
_FINEST, _COARSEST = 0.1, 10.0  # mm: beyond, a frame is gigabytes, or a heart a few pixels
DECILES = tuple(float(p) for p in range(10, 100, 10))


@dataclass(frozen=True)
class Preprocessing:
    """How images are made ready for a network, the same in training and in use.

    Parameters
    ----------
    spacing : float, optional
        In-plane pixel size in mm that the network was trained at; images whose spacing is known are
        resampled to it. None leaves images as they are.
    low_percentile, high_percentile : float
        Intensities are clipped to these percentiles, so that dark and bright scans look alike.
    method : str
        "zscore": clipped intensities are brought to zero mean and unit standard deviation; "percentile": the
        two percentiles are brought to 0 and 1; "nyul": the percentiles and the deciles between them are
        brought to `landmarks` (Nyul, Udupa & Zhang, IEEE Trans. Med. Imaging 19, 2000, section II).
    scope : str
        Whose intensities the statistics are taken of: "slice", each frame by itself; "volume", all frames of
        one phase; "patient", all frames of the patient.
    landmarks : tuple of float
        Where "nyul" brings the low percentile, the nine deciles and the high percentile; empty until they
        are learnt from the training set.
    bias_correction : str
        "none", or "n4" to even out the coil's sensitivity first (needs SimpleITK).
    resize : (y, x), optional
        The size in pixels that every frame is brought to as a whole, whatever its spacing.
    locate : bool
        Look for the heart first and segment a square around it; else the whole frame in one pass.

    Raises
    ------
    ValueError
        If a value is impossible.
    """

    spacing: float | None = None
    low_percentile: float = 0.5
    high_percentile: float = 99.5
    method: str = "zscore"
    scope: str = "slice"
    landmarks: tuple[float, ...] = ()
    bias_correction: str = "none"
    resize: tuple[int, int] | None = None
    locate: bool = True

    def __post_init__(self) -> None:
        # JSON and TOML know lists only.
        object.__setattr__(self, "landmarks", tuple(float(v) for v in self.landmarks))
        if self.resize is not None:
            object.__setattr__(self, "resize", tuple(self.resize))
        self._check_choices()
        self._check_size()
        self._check_landmarks()

    @property
    def percentiles(self) -> tuple[float, ...]:
        """The percentiles that `landmarks` stand for."""
        return (self.low_percentile, *DECILES, self.high_percentile)

    def _check_choices(self) -> None:
        for name, known in (("method", METHODS), ("scope", SCOPES), ("bias_correction", BIAS_CORRECTIONS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"The preprocessing's {name} is {getattr(self, name)!r}; it can be {', '.join(known)}."
                )

    def _check_size(self) -> None:
        if self.spacing is not None and not _FINEST <= self.spacing <= _COARSEST:
            raise ValueError(
                f"A pixel size of {self.spacing} mm shows no heart; give {_FINEST} to {_COARSEST} mm."
            )
        if self.resize is None:
            return
        if len(self.resize) != 2 or not all(isinstance(n, int) and n > 0 for n in self.resize):
            raise ValueError(f"Frames cannot be resized to {self.resize}; give rows and columns.")
        if self.spacing is not None:
            raise ValueError("Frames are brought either to a spacing or to a size (resize), not to both.")

    def _check_landmarks(self) -> None:
        if not 0 <= self.low_percentile < self.high_percentile <= 100:
            raise ValueError("The percentiles to clip at must lie between 0 and 100, the low one first.")
        if self.method == "nyul" and not (
            self.low_percentile < DECILES[0] and DECILES[-1] < self.high_percentile
        ):
            raise ValueError("With the method nyul, the two percentiles must enclose the deciles, 10 to 90.")
        if not self.landmarks:
            return
        steps = [b - a for a, b in pairwise(self.landmarks)]
        if len(self.landmarks) != len(self.percentiles) or not all(0 <= s < float("inf") for s in steps):
            raise ValueError(f"Landmarks are {len(self.percentiles)} ascending numbers.")
        if self.landmarks[0] == self.landmarks[-1]:
            raise ValueError("The landmarks are all the same, which leaves nothing of an image.")


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
