"""Cross-validation by patient, and the ensemble of its folds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import (
    LV_SCHEME,
    Job,
    LabelledFrame,
    LabelScheme,
    ModelCard,
    Preprocessing,
    Progress,
    as_part,
    retold,
)
from napari_cardioseg.models.ensemble import merge_weights
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.store.models import SUFFIX, ModelFile, read_model, write_model
from napari_cardioseg.train.compare import compare_frames
from napari_cardioseg.train.config import TrainConfig
from napari_cardioseg.train.distributed import join_world
from napari_cardioseg.train.evaluate import segment_frames
from napari_cardioseg.train.loop import TrainResult, train, with_any
from napari_cardioseg.train.split import deal_folds, split_patients

REPORT = "cross_validation.json"


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation made: the ensemble's file and card, and the report on all folds."""

    path: Path
    card: ModelCard
    report: dict[str, Any]


def cross_validate(
    config: TrainConfig,
    frames: Sequence[LabelledFrame],
    folds: int,
    *,
    scheme: LabelScheme = LV_SCHEME,
    resume: bool = True,
) -> Job[CrossValidation]:
    """Train once for each fold of the patients, measure each on its own fold, and join all in one model.

    The patients of a fold take no part in its training, not even to choose the best weights: for that,
    patients named for validation serve in every fold, and are in no fold themselves; where none are
    named, the last weights are kept. Each fold has its own folder, and a stopped cross-validation goes on
    where it was.

    Parameters
    ----------
    config : TrainConfig
        The run of every fold, but for the patients it is trained on.
    frames : sequence of LabelledFrame
        All frames.
    folds : int
        How many.
    scheme, resume
        As for `train`.

    Returns
    -------
    CrossValidation
        Its report is what `compare_frames` gives of the predictions for all patients, each by the network
        that was trained without them; the patients of the `folds`; and as `trained_on` those whom the parent
        or the teacher knew. It is also written to the output folder.

    Raises
    ------
    ConfigError, ModelError
        As for `train`, and if the patients cannot be dealt to so many folds.
    """
    learnt = config.data.scheme(scheme)
    training, _ = split_patients((f.patient for f in frames), config.data.validation, config.data.left_out)
    ours = with_any([f for f in frames if f.patient in set(training)], learnt)
    dealt = deal_folds(ours, folds, learnt, config.optimiser.seed)
    results: list[TrainResult] = []
    tested: list[LabelledFrame] = []
    found: list[NDArray[np.uint8]] = []
    with join_world(config.device) as world:
        for i, patients in enumerate(dealt):
            kept_apart = [f for f in ours if f.patient in set(patients)]
            job = _train_and_test(
                _of_fold(config, i + 1, patients), frames, kept_apart, scheme, resume=resume, test=world.leads
            )
            result, labels = yield from as_part(job, i, folds, f"Fold {i + 1} of {folds}")
            results.append(result)
            tested += kept_apart
            found += labels
        return world.from_leader(
            lambda: _join(config, results, {"folds": dealt, **compare_frames(tested, found, learnt)})
        )


def _of_fold(config: TrainConfig, number: int, patients: Sequence[str]) -> TrainConfig:
    """Give the run that leaves out the patients of a fold."""
    return replace(
        config,
        name=f"{config.name}-fold{number}",
        output=config.output / f"fold{number}",
        data=replace(config.data, left_out=(*config.data.left_out, *patients)),
    )


def _train_and_test(
    config: TrainConfig,
    frames: Sequence[LabelledFrame],
    kept_apart: Sequence[LabelledFrame],
    scheme: LabelScheme,
    *,
    resume: bool,
    test: bool,
) -> Job[tuple[TrainResult, list[NDArray[np.uint8]]]]:
    """Train one fold, and segment the frames kept apart from it."""
    result = yield from train(config, frames, scheme=scheme, resume=resume)
    if not test:
        return result, []
    file = read_model(result.path)
    model = Model.build(file.card, file.weights)
    job = segment_frames(kept_apart, model, PredictOptions(config.device), scheme=file.card.scheme)
    labels = yield from retold(job, lambda p: Progress(1, 1, f"Testing, {p.message}", p.note))
    return result, labels


def _join(config: TrainConfig, results: Sequence[TrainResult], measured: dict[str, Any]) -> CrossValidation:
    """Write the report and the ensemble."""
    members = [read_model(result.path) for result in results]
    first = members[0].card
    earlier = set(first.training.get("earlier_patients", ()))  # of parent and teacher, whom all folds share
    report = {"model": config.name, "trained_on": sorted(earlier & set(measured["patients"])), **measured}
    (config.output / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    summary = {key: report[key] for key in ("n_patients", "n_frames", "classes")}
    card = replace(
        first,
        name=config.name,
        preprocessing=_common([m.card.preprocessing for m in members]),
        network={
            "name": "ensemble",
            "members": [dict(m.card.network) for m in members],
            "classes": len(first.scheme) + 1,
        },
        training={
            **first.training,
            "patients": sorted({p for m in members for p in m.card.training["patients"]}),
            "frames": report["n_frames"],
            "folds": report["folds"],
            "data_sha256": [m.card.training["data_sha256"] for m in members],
            "steps": [m.card.training["steps"] for m in members],
        },
        # Of each member on the fold it has not seen: the ensemble itself has seen all patients.
        metrics={"out_of_fold": summary},
    )
    path = config.output / f"{config.name}{SUFFIX}"
    write_model(path, ModelFile(card, merge_weights([m.weights for m in members])))
    return CrossValidation(path, card, report)


def _common(members: Sequence[Preprocessing]) -> Preprocessing:
    """Give what all members share; each has learnt its own standard histogram, of which the mean serves."""
    landmarks = np.mean([member.landmarks for member in members], axis=0)
    return replace(members[0], landmarks=tuple(landmarks.tolist()))
