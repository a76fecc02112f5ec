"""The training loop: a job that can be stopped at any step and taken up again where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cardioseg import __version__
from napari_cardioseg.domain import (
    LV_SCHEME,
    ConfigError,
    Job,
    LabelledFrame,
    LabelScheme,
    ModelCard,
    Progress,
)
from napari_cardioseg.store.models import SUFFIX, ModelFile, read_card, write_model
from napari_cardioseg.train.config import TrainConfig
from napari_cardioseg.train.data import (
    TrainingFrames,
    fingerprint,
    prepare_frames,
)
from napari_cardioseg.train.distributed import World, join_world
from napari_cardioseg.train.journal import Journal
from napari_cardioseg.train.optimise import learning_rate
from napari_cardioseg.train.split import split_patients
from napari_cardioseg.train.start import describe, ready_model, start, taught_before
from napari_cardioseg.train.state import RunState, read_checkpoint, run_digest
from napari_cardioseg.train.stepping import train_steps
from napari_cardioseg.train.teacher import fill_in_labels
from napari_cardioseg.train.validation import validate, weights_of

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainResult:
    """What a run made: the model's file, its card, and the validation record of each check."""

    path: Path
    card: ModelCard
    history: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Run:
    """What stays the same during a run.

    Parameters
    ----------
    config : TrainConfig
    scheme : LabelScheme
        The classes to learn.
    chosen, held_out : list of LabelledFrame
        To learn from, and to validate on.
    world : World
        Who trains along.
    """

    config: TrainConfig
    scheme: LabelScheme
    chosen: list[LabelledFrame]
    held_out: list[LabelledFrame]
    world: World


def train(
    config: TrainConfig,
    frames: Sequence[LabelledFrame],
    *,
    scheme: LabelScheme = LV_SCHEME,
    resume: bool = True,
) -> Job[TrainResult]:
    """Train a network on labelled frames, from scratch or from another model's weights.

    A checkpoint is written now and then, at each validation and when the job is closed; a later call with the
    same output folder goes on from it, and on a CPU ends with the same weights to the last bit. Of the moving
    average of the weights the best on the validation patients are kept, or the last, as
    `OptimiserConfig.keep_best` says. In processes that `torchrun` started, all train together and the first
    one writes.

    Parameters
    ----------
    config : TrainConfig
        The run.
    frames : sequence of LabelledFrame
        All frames, those of the validation patients among them.
    scheme : LabelScheme
        Classes of the labels, of which `DataConfig.classes` chooses those to learn.
    resume : bool
        Go on from the output folder's checkpoint if there is one.

    Raises
    ------
    ConfigError
        If patients, classes, network, device or checkpoint do not fit.
    ModelError
        If the model to start from, or the teacher, is not there or of another network.
    """
    with join_world(config.device) as world:
        run = _plan(config, frames, config.data.scheme(scheme), world)
        state, note = start(config, run.scheme, world)
        if note:
            yield Progress(0, config.optimiser.steps, "Starting", note)
        state.digest = run_digest(config, run.chosen, run.held_out)
        if resume:
            _take_up(state, run)
        made = _made_before(state, run)
        if made is not None:
            return made
        data = yield from _prepare(run, world.device(config.device))
        loss = config.loss.settled(data.labels, data.known)
        run = replace(run, config=replace(config, loss=loss, preprocessing=data.preprocessing))
        config.output.mkdir(parents=True, exist_ok=True)
        yield from _go_on(state, data, run)
        return _finish(state, run)


def with_any(frames: Sequence[LabelledFrame], scheme: LabelScheme) -> list[LabelledFrame]:
    """Give those frames on which any of the classes was annotated."""
    return [f for f in frames if f.known & set(scheme.values)]


def _plan(config: TrainConfig, frames: Sequence[LabelledFrame], scheme: LabelScheme, world: World) -> _Run:
    training, validation = split_patients(
        (f.patient for f in frames), config.data.validation, config.data.left_out
    )
    chosen = [f for f in frames if f.patient in set(training)]
    if not with_any(chosen, scheme):
        names = " or ".join(c.name for c in scheme)
        raise ConfigError(f"On no frame of the patients to train on is the {names} labelled.")
    if config.data.fully_labelled_share == 1:  # the others would never be drawn
        chosen = [f for f in chosen if f.known >= set(scheme.values)] or chosen
    held_out = with_any([f for f in frames if f.patient in set(validation)], scheme)
    return _Run(config, scheme, chosen, held_out, world)


def _take_up(state: RunState, run: _Run) -> None:
    """Go on from the run's checkpoint if there is one."""
    path = run.config.output / CHECKPOINT
    saved = run.world.from_leader(lambda: read_checkpoint(path) if path.is_file() else None)
    if saved is not None:
        state.restore(saved, path)


def _made_before(state: RunState, run: _Run) -> TrainResult | None:
    """Give what this very run has already made, if it has come to its end before."""
    path = run.config.output / f"{run.config.name}{SUFFIX}"
    if not (state.is_finished(run.config.optimiser) and path.is_file()):
        return None
    card = read_card(path)
    return TrainResult(path, card, tuple(state.history)) if card.training.get("run") == state.digest else None


def _prepare(run: _Run, device: torch.device) -> Job[TrainingFrames]:
    """Normalise the frames to train on, and let the teacher complete their labels if there is one."""
    config = run.config
    share = config.data.fully_labelled_share
    data = yield from prepare_frames(run.chosen, run.scheme, config.preprocessing, fully_labelled_share=share)
    if not config.teacher:
        return data
    teacher = ready_model(config.teacher, run.scheme)
    return (yield from fill_in_labels(data, teacher, device))


def _go_on(state: RunState, data: TrainingFrames, run: _Run) -> Job[None]:
    """Train to the end, validating and writing checkpoints and records on the way."""
    config = run.config
    records: contextlib.AbstractContextManager[Journal | None] = contextlib.nullcontext()
    if run.world.leads:
        records = Journal(config.output, run.scheme, state.step, tensorboard=config.run.tensorboard)
    with records as journal:
        try:
            if state.is_to_be_validated(config.optimiser):  # stopped before it could be
                yield from _check(state, run, journal)
            if not state.is_finished(config.optimiser):
                yield from _learn(state, data, run, journal)
        except (GeneratorExit, KeyboardInterrupt):
            _save(state, run)
            raise


def _learn(state: RunState, data: TrainingFrames, run: _Run, journal: Journal | None) -> Job[None]:
    config, how = run.config, run.config.optimiser
    for loss in train_steps(state, data, config, run.world):
        state.losses.append(loss)
        due = state.is_to_be_validated(how)
        if state.step % config.run.log_every == 0 and not due:
            _note(state, run, journal, {})
        yield Progress(state.step, how.steps, f"Training, loss {loss:.3f}")
        if due:
            yield from _check(state, run, journal)
        elif state.step % config.run.checkpoint_every == 0:
            _save(state, run)
        if state.is_finished(how):
            if state.step < how.steps:
                best = max(state.history, key=lambda record: record.get("score", -1.0))
                note = f"Stopped early: nothing has been better since step {best['step']}."
                yield Progress(how.steps, how.steps, "Training", note)
            return


def _check(state: RunState, run: _Run, journal: Journal | None) -> Job[None]:
    """Validate, note what was found, and write a checkpoint."""
    found: dict[str, Any] = {}
    if journal is not None:
        found = yield from validate(state, run.held_out, run.scheme, run.config, journal)
    found = run.world.from_leader(lambda: found)
    state.history.append({"step": state.step, **_note(state, run, journal, found)})
    _save(state, run)


def _note(state: RunState, run: _Run, journal: Journal | None, found: Mapping[str, Any]) -> dict[str, Any]:
    """Note the mean loss since the last row of the log, and what a validation found."""
    row = {
        "learning_rate": learning_rate(max(state.step - 1, 0), run.config.optimiser),
        "loss": float(np.mean(state.losses)),
        **found,
    }
    state.losses.clear()
    if journal is not None:
        journal.note(state.step, row)
    return row


def _save(state: RunState, run: _Run) -> None:
    if run.world.leads:
        state.save(run.config.output / CHECKPOINT)


def _finish(state: RunState, run: _Run) -> TrainResult:
    """Write the model."""
    config = run.config
    path = config.output / f"{config.name}{SUFFIX}"
    card = _card(state, run)

    def write() -> None:
        keeps_best = config.optimiser.keep_best and bool(state.best_weights)
        weights = state.best_weights if keeps_best else weights_of(state.average)
        write_model(path, ModelFile(card, {name: _half(value) for name, value in weights.items()}))

    run.world.from_leader(write)
    return TrainResult(path, card, tuple(state.history))


def _half(value: Tensor) -> NDArray[np.generic]:
    """Halve the size on disk: weights of a trained network lose nothing measurable as float16."""
    half = value.half() if value.is_floating_point() else value
    return np.asarray((half if torch.isfinite(half).all() else value).contiguous().numpy())


def _card(state: RunState, run: _Run) -> ModelCard:
    config = run.config
    checked = [record for record in state.history if "score" in record]
    kept = max(checked, key=lambda r: r["score"]) if config.optimiser.keep_best and checked else None
    return ModelCard(
        name=config.name,
        network=describe(config, run.scheme),
        scheme=run.scheme,
        preprocessing=config.preprocessing,
        training={
            "patients": sorted({f.patient for f in run.chosen}),
            "earlier_patients": taught_before(config),
            "frames": len(run.chosen),
            "data_sha256": fingerprint(run.chosen),
            "validation_patients": sorted({f.patient for f in run.held_out}),
            "run": state.digest,
            "recipe": config.recipe,
            "teacher": Path(config.teacher).stem,
            "steps": state.step,
            "loss": asdict(config.loss),
            "optimiser": asdict(config.optimiser),
            "augmentation": asdict(config.augmentation),
            "software": {"napari-cardioseg": __version__, "torch": torch.__version__},
        },
        parent=Path(config.parent).stem,
        metrics={"validation": kept or checked[-1]} if checked else {},
        description=config.description,
    )
