"""Measure a model on labelled frames, patient by patient, as it would be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import (
    LV_SCHEME,
    ConfigError,
    Job,
    LabelledFrame,
    LabelScheme,
    ModelCard,
    Progress,
    retold,
)
from napari_cardioseg.predict import Model, PredictOptions, predict_frames
from napari_cardioseg.quantify.overlap import dice, iou

FAILURE = 0.5
"""A slice whose Dice is below this counts as failed."""


def evaluate_frames(
    frames: Sequence[LabelledFrame],
    model: Model,
    options: PredictOptions | None = None,
    *,
    scheme: LabelScheme = LV_SCHEME,
) -> Job[dict[str, Any]]:
    """Segment each patient's frames as one stack and compare them with their labels.

    A class counts only on the frames on which it was annotated and on which the labels or the model have it.
    The model's classes and the labels' are matched by their keys, whatever their values.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        All frames of a patient must be of one size.
    model : Model
        The model to measure.
    options : PredictOptions, optional
        As `predict_cine` takes them; the defaults are what `segment` does.
    scheme : LabelScheme
        Classes of the labels.

    Returns
    -------
    dict
        `classes`: by class key the mean over frames of Dice and IoU, the mean over patients of Dice by
        volume, the number of frames below 0.5, and the number of frames; `patients`: the same for each;
        `failures`: patient, instance, class and Dice of each failed frame. Means over nothing are None.

    Raises
    ------
    ConfigError
        If there are no frames, or a patient's differ in size.
    """
    if not frames:
        raise ConfigError("There are no labelled frames to evaluate on.")
    values = {c.key: c.value for c in scheme}
    scores: dict[str, dict[str, _Scores]] = {}
    done = 0
    for patient, group in groupby(sorted(frames, key=lambda f: (f.patient, f.instance)), lambda f: f.patient):
        stack = list(group)
        if len({f.image.shape for f in stack}) > 1:
            raise ConfigError(f"The frames of patient {patient} differ in size.")
        images = np.stack([f.image for f in stack])
        job = predict_frames(images, None, model, options or PredictOptions())
        labels = (yield from retold(job, _within(patient, done, len(frames)))).labels
        done += len(stack)
        scores[patient] = {
            c.key: _compare(stack, labels == c.value, values[c.key])
            for c in model.card.scheme
            if c.key in values
        }
    return _report(scores, model.card, len(frames))


@dataclass(frozen=True)
class _Scores:
    """Dice and IoU of one class on each of a patient's frames, and Dice over all of them."""

    frames: tuple[dict[str, Any], ...]
    volume: float | None


def _within(patient: str, done: int, total: int) -> Callable[[Progress], Progress]:
    """Tell of one patient's progress as a part of the whole."""

    def tell(progress: Progress) -> Progress:
        share = progress.done / max(progress.total, 1)
        return Progress(done, total, f"{patient}, {share:.0%}", progress.note)

    return tell


def _compare(stack: Sequence[LabelledFrame], found: NDArray[np.bool_], value: int) -> _Scores:
    """Compare masks (n, y, x) with one value of the labels on the frames where it is known."""
    rows, overlap, size = [], 0, 0
    for frame, a in zip(stack, found, strict=True):
        b = frame.labels == value
        if value not in frame.known or not (a.any() or b.any()):
            continue
        rows.append({"instance": frame.instance, "dice": dice(a, b), "iou": iou(a, b)})
        overlap += int((a & b).sum())
        size += int(a.sum()) + int(b.sum())
    return _Scores(tuple(rows), 2 * overlap / size if size else None)


def _report(scores: dict[str, dict[str, _Scores]], card: ModelCard, n_frames: int) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for found in scores.values() for key in found))
    of_class = {key: [found[key] for found in scores.values()] for key in keys}
    return {
        "model": card.name,
        "n_patients": len(scores),
        "n_frames": n_frames,
        "classes": {
            key: {**_over_frames(found), "dice_volume_mean": _mean([s.volume for s in found])}
            for key, found in of_class.items()
        },
        "patients": {
            patient: {key: {**_over_frames([s]), "dice_volume": s.volume} for key, s in found.items()}
            for patient, found in scores.items()
        },
        "failures": [
            {"patient": patient, "class": key, "instance": row["instance"], "dice": row["dice"]}
            for patient, found in scores.items()
            for key, s in found.items()
            for row in s.frames
            if row["dice"] < FAILURE
        ],
    }


def _over_frames(scores: Sequence[_Scores]) -> dict[str, Any]:
    rows = [row for s in scores for row in s.frames]
    return {
        "dice_slice_mean": _mean([row["dice"] for row in rows]),
        "iou_slice_mean": _mean([row["iou"] for row in rows]),
        "failures": sum(row["dice"] < FAILURE for row in rows),
        "n_slices": len(rows),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Average what there is."""
    there = [v for v in values if v is not None]
    return float(np.mean(there)) if there else None
