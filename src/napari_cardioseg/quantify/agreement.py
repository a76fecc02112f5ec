"""How well one mask agrees with its truth, on a slice, on many slices, or in a volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.quantify.distance import (
    Distances,
    average_surface_distance,
    hausdorff95,
    surface_distances,
)

FAILURE = 0.5
"""A slice whose Dice is below this counts as failed."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """A mask against its truth.

    Parameters
    ----------
    area_true, area_found, area_both : int
        Sizes in pixels of the true mask, of the one found, and of what they share.
    to_found, to_true : (n,) float64 array
        Distance in mm from each element of the true mask's border to the found one's, and back; empty where
        a mask is empty.
    """

    area_true: int
    area_found: int
    area_both: int
    to_found: Distances
    to_true: Distances

    @classmethod
    def between(
        cls, truth: NDArray[np.bool_], found: NDArray[np.bool_], spacing: Sequence[float]
    ) -> Agreement:
        """Compare two masks, (y, x) or (z, y, x), whose elements are `spacing` mm apart along each axis."""
        sizes = int(truth.sum()), int(found.sum()), int((truth & found).sum())
        return cls(*sizes, *surface_distances(truth, found, spacing))

    @classmethod
    def pooled(cls, parts: Iterable[Agreement]) -> Agreement:
        """Take slices as one: pixels are added up, and the distances of all borders put together.

        Distances stay within the slices. This is the measure of a volume of which only slices at unknown
        places are at hand; with the slice distance known, `between` compares it in three dimensions.
        """
        parts = list(parts)
        return cls(
            sum(p.area_true for p in parts),
            sum(p.area_found for p in parts),
            sum(p.area_both for p in parts),
            np.concatenate([np.empty(0), *(p.to_found for p in parts)]),
            np.concatenate([np.empty(0), *(p.to_true for p in parts)]),
        )

    @property
    def dice(self) -> float:
        """Dice coefficient; 1 where both masks are empty."""
        size = self.area_true + self.area_found
        return 2 * self.area_both / size if size else 1.0

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both masks are empty."""
        union = self.area_true + self.area_found - self.area_both
        return self.area_both / union if union else 1.0

    @cached_property
    def hd95_mm(self) -> float | None:
        """Hausdorff distance at 95 %; None where a mask is empty."""
        return hausdorff95(self.to_found, self.to_true)

    @cached_property
    def asd_mm(self) -> float | None:
        """Average symmetric surface distance; None where a mask is empty."""
        return average_surface_distance(self.to_found, self.to_true)

    @property
    def bias_percent(self) -> float | None:
        """By how much the mask found is larger (smaller: negative) than the truth; None without a truth."""
        return 100 * (self.area_found / self.area_true - 1) if self.area_true else None

    @property
    def failed(self) -> bool:
        """Whether the overlap is below `FAILURE`, as it always is where only one mask is empty."""
        return self.dice < FAILURE


_BEST_IS_LOW = {"dice": False, "iou": False, "hd95_mm": True, "asd_mm": True}
MEASURES = tuple(_BEST_IS_LOW)
"""Measures that are summarised, by attribute of `Agreement`."""


def summarise_slices(slices: Sequence[Agreement]) -> dict[str, Any]:
    """Sum up slices: each measure's mean, median and worst, and how many slices failed, and how.

    A slice on which only one of the masks is empty has a Dice of 0 and no distance: it fails, and means of
    distances leave it out. `n_missed` counts those on which nothing was found, `n_spurious` those on which
    something was found where there is nothing.

    Returns
    -------
    dict
        `<measure>_slice_mean`, `_slice_median` and `_slice_worst`, None over nothing;
        `area_bias_pixels_slice_mean`, the mean of found less true; `failures`; `n_slices`, `n_missed`,
        `n_spurious`.
    """
    summary: dict[str, Any] = {}
    for name, low in _BEST_IS_LOW.items():
        values = [v for s in slices if (v := getattr(s, name)) is not None]
        summary[f"{name}_slice_mean"] = mean_of(values)
        summary[f"{name}_slice_median"] = float(np.median(values)) if values else None
        summary[f"{name}_slice_worst"] = (max if low else min)(values, default=None)
    summary["area_bias_pixels_slice_mean"] = mean_of([s.area_found - s.area_true for s in slices])
    return {
        **summary,
        "failures": sum(s.failed for s in slices),
        "n_slices": len(slices),
        "n_missed": sum(s.area_found == 0 for s in slices),
        "n_spurious": sum(s.area_true == 0 for s in slices),
    }


def summarise_patients(patients: Sequence[Sequence[Agreement]]) -> dict[str, Any]:
    """Sum up patients, each of whom counts the same however many slices they have.

    Returns
    -------
    dict
        For each measure `<measure>_patient_mean`, the mean of the patients' means over slices, and
        `<measure>_volume_mean`, the mean over their slices pooled; `volume_bias_percent_mean` and
        `volume_bias_percent_sd`, mean and standard deviation of how much larger the volumes found are. None
        over nothing.
    """
    there = [p for p in patients if p]
    volumes = [Agreement.pooled(p) for p in there]
    summary: dict[str, Any] = {}
    for name in MEASURES:
        summary[f"{name}_patient_mean"] = mean_of([mean_of([getattr(s, name) for s in p]) for p in there])
        summary[f"{name}_volume_mean"] = mean_of([getattr(v, name) for v in volumes])
    bias = [b for v in volumes if (b := v.bias_percent) is not None]
    summary["volume_bias_percent_mean"] = mean_of(bias)
    summary["volume_bias_percent_sd"] = float(np.std(bias, ddof=1)) if len(bias) > 1 else None
    return summary


def mean_of(values: Iterable[float | None]) -> float | None:
    """Average what there is; None where there is nothing."""
    there = [v for v in values if v is not None]
    return float(np.mean(there)) if there else None
