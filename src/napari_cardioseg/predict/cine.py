"""Segment a cine, or some of its phases and slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import Cine, DataError, Job, Segmentation, SliceState, as_part
from napari_cardioseg.predict.frames import PredictOptions, predict_frames
from napari_cardioseg.predict.model import Model

_LOCATING_PHASES = 4


@dataclass(frozen=True)
class Prediction:
    """What a model says about a cine.

    Parameters
    ----------
    labels : (t, z, y, x) uint8 array
        Class values; 0 where nothing was predicted.
    predicted : (t, z) bool array
        Which frames were segmented: those asked for that have an image.
    uncertainty : (t, z) float32 array
        From 0 (sure) to 1; NaN where nothing was predicted.
    model : Model
        Who says so.
    notes : tuple of str
        Sentences for the user, on falling back to a slower way.
    """

    labels: NDArray[np.uint8]
    predicted: NDArray[np.bool_]
    uncertainty: NDArray[np.float32]
    model: Model
    notes: tuple[str, ...] = ()

    def as_segmentation(self) -> Segmentation:
        """Give the prediction as a segmentation none of whose slices the reader has touched."""
        states = np.where(self.predicted, SliceState.PREDICTED, SliceState.EMPTY).astype(np.uint8)
        card = self.model.card
        return Segmentation(self.labels, card.scheme, states, self.uncertainty, card.name)


def predict_cine(
    cine: Cine,
    model: Model,
    *,
    phases: Sequence[int] | None = None,
    slices: Sequence[int] | None = None,
    options: PredictOptions | None = None,
) -> Job[Prediction]:
    """Segment the frames of a cine.

    Parameters
    ----------
    cine : Cine
        The images; frames that it lacks are left out.
    model : Model
        The network.
    phases, slices : sequence of int, optional
        Which phases and slices, counted from 0; all by default.
    options : PredictOptions, optional
        Device, test-time augmentation, clean-up.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        If none of the frames asked for has an image.
    """
    wanted = np.zeros_like(cine.present)
    wanted[np.ix_(_chosen(phases, cine.n_phases, "phase"), _chosen(slices, cine.n_slices, "slice"))] = True
    wanted &= cine.present
    if not wanted.any():
        raise DataError("The cine has no image at the slices and phases that were to be segmented.")
    spacing = cine.geometry.spacing[1:] if cine.geometry.calibrated else None
    others = _others(cine, wanted, model.card.preprocessing.scope)
    result = yield from predict_frames(
        cine.data[wanted],
        spacing,
        model,
        options or PredictOptions(),
        others=cine.data[others],
        volumes=np.concatenate((np.nonzero(wanted)[0], np.nonzero(others)[0])),
    )
    labels = np.zeros(cine.data.shape, dtype=np.uint8)
    labels[wanted] = result.labels
    uncertainty = np.full(wanted.shape, np.nan, dtype=np.float32)
    uncertainty[wanted] = result.uncertainty
    return Prediction(labels, wanted, uncertainty, model, result.notes)


def predict_ed_es(
    cine: Cine, model: Model, options: PredictOptions | None = None
) -> Job[tuple[Prediction, int, int]]:
    """Find end-diastole and end-systole, and segment all slices of both.

    They are the phases of the largest and the smallest LV cavity over all slices that have every phase. The
    middle slices alone will not do: an infarcted heart does not contract everywhere at once.

    Parameters
    ----------
    cine, model, options
        As for `predict_cine`.

    Returns
    -------
    Prediction, int, int
        With the two phases, counted from 0.

    Raises
    ------
    DataError
        If there is one phase only, no slice has all its phases, or no cavity is found.
    """
    options = options or PredictOptions()
    lv = next((c.value for c in model.card.scheme if c.key == "lv"), None)
    if lv is None:
        raise DataError(
            f"The model {model.card.name!r} does not segment the LV cavity, which times the beat."
        )
    if cine.n_phases < 2:
        raise DataError("This series has one phase only, so that there is no end-diastole and end-systole.")
    complete = np.flatnonzero(cine.present.all(axis=0)).tolist()
    if not complete:
        raise DataError(
            "End-diastole and end-systole cannot be found: every slice lacks an image at some phase. "
            "Choose the phases yourself."
        )
    job = predict_cine(cine, model, slices=complete, options=replace(options, tta=False))
    quick = yield from as_part(job, 0, 2, "Timing the beat")
    cavity = (quick.labels == lv).sum(axis=(1, 2, 3))
    if not cavity.any():
        raise DataError("No LV cavity was found at any phase, so that ED and ES are not known.")
    ed, es = int(cavity.argmax()), int(cavity.argmin())
    prediction = yield from as_part(predict_cine(cine, model, phases=(ed, es), options=options), 1, 2)
    return replace(prediction, notes=tuple(dict.fromkeys((*quick.notes, *prediction.notes)))), ed, es


def _chosen(indices: Sequence[int] | None, n: int, what: str) -> list[int]:
    if indices is None:
        return list(range(n))
    outside = [i for i in indices if not 0 <= i < n]
    if outside:
        raise DataError(f"There is no {what} {outside[0]}: this cine has {n}, counted from 0.")
    return sorted(set(indices))


def _others(cine: Cine, wanted: NDArray[np.bool_], scope: str) -> NDArray[np.bool_]:
    """Choose frames (t, z) besides the wanted ones.

    So that a single slice is not alone in locating the heart, and that its intensities are measured on the
    same frames whether it is segmented alone or with the others.
    """
    chosen = np.zeros_like(wanted)
    chosen[:: max(cine.n_phases // _LOCATING_PHASES, 1)] = True
    if scope == "volume":
        chosen[wanted.any(axis=1)] = True
    elif scope == "patient":
        chosen[:] = True
    return chosen & cine.present & ~wanted
