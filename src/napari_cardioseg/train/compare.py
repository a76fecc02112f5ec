"""Compare labels that were found with those of labelled frames: by slice, by volume, by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import LV_SCHEME, LabelledFrame, LabelScheme
from napari_cardioseg.predict.preprocess import FIELD_OF_VIEW, assumed_pixel_size
from napari_cardioseg.quantify.agreement import (
    MEASURES,
    Agreement,
    mean_of,
    summarise_patients,
    summarise_slices,
)
from napari_cardioseg.quantify.confusion import (
    PIXEL_MEASURES,
    Confusion,
    against_rest,
    class_dice,
    class_iou,
    confusion_matrix,
)

Labels = NDArray[np.uint8]
Report = dict[str, Any]
PixelSize = tuple[float, float]


def compare_frames(
    frames: Sequence[LabelledFrame],
    found: Sequence[Labels],
    scheme: LabelScheme = LV_SCHEME,
    *,
    pixel_size: PixelSize | None = None,
) -> Report:
    """Compare labels that were found with those of the frames.

    A class counts only on the frames on which it was annotated and on which the labels or what was found
    have it. Measures of all classes together take only frames on which every class was annotated: elsewhere
    what is background is not known. A class against the rest needs no more than that class.

    Distances lie within the slices, since frames do not tell where in the volume they are. A volume is all
    of a patient's frames, at every phase.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        The truth.
    found : sequence of (y, x) uint8 array
        What to compare with it, in the same order.
    scheme : LabelScheme
        The classes to compare, with their values in both.
    pixel_size : (dy, dx) in mm, optional
        Of all frames, whatever they state themselves. By default what each states; where it states nothing,
        the longer side of its image is taken to be `FIELD_OF_VIEW` long.

    Returns
    -------
    dict
        `classes`: by class key what `summarise_slices` and `summarise_patients` give, and under
        `against_rest` the pixel measures of this class against all else. `pixels`: those of all classes, of
        all frames together, by slice and by patient. `patients`: by name and class key what
        `summarise_slices` gives, and each measure of the slices pooled as `<measure>_volume`. `slices`: a row
        for each frame and class; `failures`: those below `quantify.agreement.FAILURE`. `pixel_size`: what
        millimetres rest on. Measures of nothing are None.
    """
    rows = [_compare(f, labels, scheme, pixel_size) for f, labels in zip(frames, found, strict=True)]
    patients = {name: [rows[i] for i in stack] for name, stack in by_patient(frames)}
    slices = [
        (row.frame, key, agreement)
        for stack in patients.values()
        for row in stack
        for key, agreement in row.classes.items()
    ]
    return {
        "n_patients": len(patients),
        "n_frames": len(frames),
        "pixel_size": _scale(frames, pixel_size),
        "classes": {c.key: _of_class(patients, i, c.key) for i, c in enumerate(scheme, start=1)},
        "pixels": _of_pixels(patients, scheme),
        "patients": {
            name: {c.key: _of_patient(stack, c.key) for c in scheme} for name, stack in patients.items()
        },
        "failures": [_row(*one, ("dice", "hd95_mm")) for one in slices if one[2].failed],
        "slices": [_row(*one, (*MEASURES, "area_true", "area_found")) for one in slices],
    }


def by_patient(frames: Sequence[LabelledFrame]) -> list[tuple[str, list[int]]]:
    """Give each patient's name and the indices of their frames, in the order of the instances."""
    order = sorted(range(len(frames)), key=lambda i: (frames[i].patient, frames[i].instance))
    return [(name, list(stack)) for name, stack in groupby(order, lambda i: frames[i].patient)]


@dataclass(frozen=True, eq=False)
class _Compared:
    """One frame against what was found: class by class, and pixel by pixel.

    The matrix counts classes that were not annotated as background, so that it may be read as a whole only
    where `complete`, and else for each class of `known` against the rest.
    """

    frame: LabelledFrame
    classes: dict[str, Agreement]
    known: frozenset[str]
    matrix: Confusion
    complete: bool


def _row(frame: LabelledFrame, key: str, agreement: Agreement, names: Sequence[str]) -> Report:
    values = {name: getattr(agreement, name) for name in names}
    return {"patient": frame.patient, "instance": frame.instance, "class": key, **values}


def _scale(frames: Sequence[LabelledFrame], given: PixelSize | None) -> Report:
    """Say what millimetres rest on."""
    sizes = sorted({_pixel_size(f, given) for f in frames})
    assumed = 0 if given else sum(f.pixel_size is None for f in frames)
    return {
        "mm": [list(size) for size in sizes],
        "n_frames_assumed": assumed,
        "field_of_view_mm": FIELD_OF_VIEW if assumed else None,
    }


def _pixel_size(frame: LabelledFrame, given: PixelSize | None) -> PixelSize:
    shape = (frame.image.shape[0], frame.image.shape[1])
    return given or frame.pixel_size or assumed_pixel_size(shape)


def _compare(
    frame: LabelledFrame, found: Labels, scheme: LabelScheme, pixel_size: PixelSize | None
) -> _Compared:
    spacing = _pixel_size(frame, pixel_size)
    known = [c for c in scheme if c.value in frame.known]
    classes = {}
    for c in known:
        truth, mask = frame.labels == c.value, found == c.value
        if truth.any() or mask.any():
            classes[c.key] = Agreement.between(truth, mask, spacing)
    index = np.zeros(256, dtype=np.uint8)
    index[list(scheme.values)] = np.arange(1, len(scheme) + 1)
    matrix = confusion_matrix(index[frame.labels], index[found], len(scheme) + 1)
    keys = frozenset(c.key for c in known)
    return _Compared(frame, classes, keys, matrix, len(known) == len(scheme))


def _of_class(patients: dict[str, list[_Compared]], index: int, key: str) -> Report:
    scores = [[row.classes[key] for row in stack if key in row.classes] for stack in patients.values()]
    known = [row.matrix for stack in patients.values() for row in stack if key in row.known]
    binary = against_rest(np.sum(known, axis=0), index) if known else np.zeros((2, 2), dtype=np.int64)
    (rest_iou, iou), (rest_dice, dice) = class_iou(binary), class_dice(binary)
    return {
        **summarise_slices([s for stack in scores for s in stack]),
        **summarise_patients(scores),
        "against_rest": {
            **_pixel_measures(binary),
            **_without_nan({"iou": iou, "rest_iou": rest_iou, "dice": dice, "rest_dice": rest_dice}),
            "n_frames": len(known),
        },
    }


def _of_patient(stack: Sequence[_Compared], key: str) -> Report:
    scores = [row.classes[key] for row in stack if key in row.classes]
    volume = Agreement.pooled(scores) if scores else None
    return {
        **summarise_slices(scores),
        **{f"{name}_volume": getattr(volume, name, None) for name in MEASURES},
        "volume_bias_percent": volume.bias_percent if volume else None,
    }


def _of_pixels(patients: dict[str, list[_Compared]], scheme: LabelScheme) -> Report:
    stacks = {name: [row.matrix for row in stack if row.complete] for name, stack in patients.items()}
    size = len(scheme) + 1
    sums = {name: np.sum(stack, axis=0) for name, stack in stacks.items() if stack}
    total = np.sum([np.zeros((size, size), dtype=np.int64), *sums.values()], axis=0)
    slices = [_pixel_measures(matrix) for stack in stacks.values() for matrix in stack]
    by_patient = {name: _pixel_measures(matrix) for name, matrix in sums.items()}
    return {
        **_pixel_measures(total),
        "slice_mean": {key: mean_of([m[key] for m in slices]) for key in PIXEL_MEASURES},
        "patient_mean": {key: mean_of([m[key] for m in by_patient.values()]) for key in PIXEL_MEASURES},
        "patients": by_patient,
        "order": ["background", *(c.key for c in scheme)],
        "confusion": total.tolist(),
        "n_frames": len(slices),
    }


def _pixel_measures(matrix: Confusion) -> dict[str, float | None]:
    return _without_nan({name: measure(matrix) for name, measure in PIXEL_MEASURES.items()})


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else float(value) for key, value in values.items()}
