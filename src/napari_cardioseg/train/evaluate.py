"""Measure a model on labelled frames, patient by patient, as it would be used."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import ConfigError, Job, LabelledFrame, Progress
from napari_cardioseg.predict import Model, PredictOptions, predict_frames
from napari_cardioseg.quantify.overlap import dice, iou

FAILURE = 0.5
"""A slice whose Dice is below this counts as failed."""


def evaluate_frames(
    frames: Sequence[LabelledFrame], model: Model, options: PredictOptions | None = None
) -> Job[dict[str, Any]]:
    """Segment each patient's frames as one stack and compare them with their labels.

    A class counts only on the frames on which it was annotated and on which the labels or the model
    have it.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        All frames of a patient must be of one size.
    model : Model
        The model to measure.
    options : PredictOptions, optional
        As `predict_cine` takes them; the defaults are what `segment` does.

    Returns
    -------
    dict
        `classes`: by class key the mean over frames of Dice and IoU, the mean over patients of Dice by
        volume, the number of frames below 0.5, and the number of frames; `patients`: the same for each;
        `failures`: patient, instance, class and Dice of each failed frame.

    Raises
    ------
    ConfigError
        If there are no frames, or a patient's differ in size.
    """
    if not frames:
        raise ConfigError("There are no labelled frames to evaluate on.")
    options = options or PredictOptions()
    patients: dict[str, dict[str, Any]] = {}
    failures: list[dict[str, Any]] = []
    done = 0
    for patient, group in groupby(sorted(frames, key=lambda f: (f.patient, f.instance)), lambda f: f.patient):
        stack = list(group)
        if len({f.image.shape for f in stack}) > 1:
            raise ConfigError(f"The frames of patient {patient} differ in size.")
        job = predict_frames(np.stack([f.image for f in stack]), None, model, options)
        prediction = yield from _within(job, done, len(frames), patient)
        done += len(stack)
        patients[patient] = {}
        for c in model.card.scheme:
            scores = _score(stack, prediction.labels, c.value)
            if scores:
                patients[patient][c.key] = _summary(scores)
                failures += [
                    {"patient": patient, "instance": s["instance"], "class": c.key, "dice": s["dice"]}
                    for s in scores["frames"]
                    if s["dice"] < FAILURE
                ]
    classes = {
        c.key: _over_patients([p[c.key] for p in patients.values() if c.key in p])
        for c in model.card.scheme
        if any(c.key in p for p in patients.values())
    }
    return {
        "model": model.card.name,
        "n_patients": len(patients),
        "n_frames": len(frames),
        "classes": classes,
        "patients": {
            name: {key: {k: v for k, v in s.items() if k != "frames"} for key, s in result.items()}
            for name, result in patients.items()
        },
        "failures": failures,
    }


def _within(job: Job[Any], done: int, total: int, patient: str) -> Job[Any]:
    """Run a patient's job as a part of the whole."""
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            return end.value
        share = progress.done / max(progress.total, 1)
        yield Progress(done, total, f"{patient}, {share:.0%}", progress.note)


def _score(stack: Sequence[LabelledFrame], found: NDArray[np.uint8], value: int) -> dict[str, Any]:
    """Compare one class on the frames where it is known; empty where it is on none."""
    rows, overlap, size = [], 0, 0
    for frame, labels in zip(stack, found, strict=True):
        a, b = labels == value, frame.labels == value
        if value not in frame.known or not (a.any() or b.any()):
            continue
        rows.append({"instance": frame.instance, "dice": dice(a, b), "iou": iou(a, b)})
        overlap += int((a & b).sum())
        size += int(a.sum()) + int(b.sum())
    return {"frames": rows, "volume": 2 * overlap / size} if rows else {}


def _summary(scores: dict[str, Any]) -> dict[str, Any]:
    dices = [row["dice"] for row in scores["frames"]]
    return {
        "dice_slice_mean": float(np.mean(dices)),
        "dice_volume": scores["volume"],
        "iou_slice_mean": float(np.mean([row["iou"] for row in scores["frames"]])),
        "failures": sum(d < FAILURE for d in dices),
        "n_slices": len(dices),
        "frames": scores["frames"],
    }


def _over_patients(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    dices = [row["dice"] for r in results for row in r["frames"]]
    return {
        "dice_slice_mean": float(np.mean(dices)),
        "dice_volume_mean": float(np.mean([r["dice_volume"] for r in results])),
        "iou_slice_mean": float(np.mean([row["iou"] for r in results for row in r["frames"]])),
        "failures": sum(d < FAILURE for d in dices),
        "n_slices": len(dices),
    }
