"""Measure a model on labelled frames, patient by patient, as it would be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

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
from napari_cardioseg.train.compare import Labels, PixelSize, Report, by_patient, compare_frames


def evaluate_frames(
    frames: Sequence[LabelledFrame],
    model: Model,
    options: PredictOptions | None = None,
    *,
    scheme: LabelScheme = LV_SCHEME,
    pixel_size: PixelSize | None = None,
) -> Job[Report]:
    """Segment each patient's frames as one stack and compare them with their labels.

    Parameters
    ----------
    frames, model, options, scheme, pixel_size
        As `segment_frames` takes them.

    Returns
    -------
    dict
        What `compare_frames` and `identify` give.

    Raises
    ------
    ConfigError
        As `segment_frames` does.
    """
    shared = shared_classes(model, scheme)
    found = yield from segment_frames(frames, model, options, scheme=shared, pixel_size=pixel_size)
    return {**identify(model, frames), **compare_frames(frames, found, shared, pixel_size=pixel_size)}


def identify(model: Model, frames: Sequence[LabelledFrame]) -> Report:
    """Name the `model`, and as `trained_on` those of the patients from whom it has learnt (`taught`)."""
    return {"model": model.card.name, "trained_on": sorted({f.patient for f in frames} & taught(model.card))}


def taught(card: ModelCard) -> set[str]:
    """Name the patients from whom a model has learnt: in its own training, or through parent and teacher."""
    return {*card.training.get("patients", ()), *card.training.get("earlier_patients", ())}


def shared_classes(model: Model, scheme: LabelScheme) -> LabelScheme:
    """Give the classes of `scheme` that the model knows too, by their keys.

    Raises
    ------
    ConfigError
        If there are none.
    """
    keys = {c.key for c in model.card.scheme}
    shared = tuple(c for c in scheme if c.key in keys)
    if not shared:
        theirs, ours = (", ".join(c.name for c in s) for s in (model.card.scheme, scheme))
        raise ConfigError(f"The model {model.card.name!r} finds {theirs}, but the frames show {ours}.")
    return LabelScheme(shared)


def segment_frames(
    frames: Sequence[LabelledFrame],
    model: Model,
    options: PredictOptions | None = None,
    *,
    scheme: LabelScheme = LV_SCHEME,
    pixel_size: PixelSize | None = None,
) -> Job[list[Labels]]:
    """Segment each patient's frames as one stack, or as one for each size that they have.

    Parameters
    ----------
    frames : sequence of LabelledFrame
    model : Model
        The model to apply.
    options : PredictOptions, optional
        As `predict_cine` takes them; the defaults are what `segment` does.
    scheme : LabelScheme
        Values of the classes to give; the model's are matched by their keys.
    pixel_size : (dy, dx) in mm, optional
        Of all frames, whatever they state themselves.

    Returns
    -------
    list of (y, x) uint8 array
        Labels of the frames, in their order.

    Raises
    ------
    ConfigError
        If there are no frames.
    """
    if not frames:
        raise ConfigError("There are no labelled frames to evaluate on.")
    values = np.zeros(256, dtype=np.uint8)
    theirs = {c.key: c.value for c in model.card.scheme}
    for c in scheme:
        if c.key in theirs:
            values[theirs[c.key]] = c.value
    result: dict[int, Labels] = {}
    for patient, stack in _stacks(frames):
        images = np.stack([frames[i].image for i in stack])
        size = pixel_size or frames[stack[0]].pixel_size
        job = predict_frames(images, size, model, options or PredictOptions())
        labels = (yield from retold(job, _within(patient, len(result), len(frames)))).labels
        result.update(zip(stack, values[labels], strict=True))
    return [result[i] for i in range(len(frames))]


def _stacks(frames: Sequence[LabelledFrame]) -> Iterator[tuple[str, list[int]]]:
    """Give each patient's name and the indices of their frames of one size, in pixels and in mm."""
    for patient, all_of_them in by_patient(frames):
        of_size: dict[object, list[int]] = {}
        for i in all_of_them:
            of_size.setdefault((frames[i].image.shape, frames[i].pixel_size), []).append(i)
        for stack in of_size.values():
            yield patient, stack


def _within(patient: str, done: int, total: int) -> Callable[[Progress], Progress]:
    """Tell of one patient's progress as a part of the whole."""

    def tell(progress: Progress) -> Progress:
        share = progress.done / max(progress.total, 1)
        return Progress(done, total, f"{patient}, {share:.0%}", progress.note)

    return tell
