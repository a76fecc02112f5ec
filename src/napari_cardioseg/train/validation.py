"""What a run is worth so far, on the patients that it does not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from napari_cardioseg.domain import Job, LabelledFrame, LabelScheme, ModelCard, Progress, retold
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.train.compare import compare_frames
from napari_cardioseg.train.config import TrainConfig
from napari_cardioseg.train.evaluate import segment_frames
from napari_cardioseg.train.journal import Journal
from napari_cardioseg.train.state import RunState


def validate(
    state: RunState,
    held_out: Sequence[LabelledFrame],
    scheme: LabelScheme,
    config: TrainConfig,
    journal: Journal,
) -> Job[dict[str, Any]]:
    """Measure the averaged network, and remember its weights if it is the best so far.

    Parameters
    ----------
    state : RunState
        Gets the weights and the score of the best.
    held_out : sequence of LabelledFrame
        Of the validation patients.
    scheme : LabelScheme
        The classes that are learnt.
    config : TrainConfig
        With its preprocessing settled.
    journal : Journal
        Shows some of the frames.

    Returns
    -------
    dict
        `dice`, the mean over slices, and `failures`, by class key; `score`, the mean of the Dice. Without
        frames, or if none has what is looked for, empty.
    """
    if not held_out:
        return {}
    card = ModelCard(config.name, config.network, scheme, config.preprocessing)
    options = PredictOptions(config.device, tta=False)
    job = segment_frames(held_out, Model(state.average, card), options, scheme=scheme)
    steps = config.optimiser.steps
    found = yield from retold(job, lambda p: Progress(state.step, steps, f"Validating, {p.message}", p.note))
    journal.show(state.step, held_out, found, config.run.pictures)
    report = compare_frames(held_out, found, scheme)
    scores = {key: scores for key, scores in report["classes"].items() if scores["n_slices"]}
    if not scores:
        return {}
    record: dict[str, Any] = {
        "dice": {key: of_class["dice_slice_mean"] for key, of_class in scores.items()},
        "failures": {key: of_class["failures"] for key, of_class in scores.items()},
    }
    record["score"] = float(np.mean(list(record["dice"].values())))
    if record["score"] > state.best:
        state.best, state.best_weights = record["score"], weights_of(state.average)
    return record


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's weights to the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
