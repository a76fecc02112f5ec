"""The training loop: a job that can be stopped at any step and taken up again where it was."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_cardioseg import __version__
from napari_cardioseg.domain import (
    LV_SCHEME,
    ConfigError,
    Job,
    LabelledFrame,
    LabelScheme,
    ModelCard,
    ModelError,
    Progress,
    retold,
)
from napari_cardioseg.models import build_network
from napari_cardioseg.predict.device import choose_device, mixed_precision
from napari_cardioseg.predict.frames import PredictOptions
from napari_cardioseg.predict.model import Model
from napari_cardioseg.store.models import SUFFIX, ModelFile, read_model, write_model
from napari_cardioseg.train.augment import augment
from napari_cardioseg.train.config import TrainConfig
from napari_cardioseg.train.data import IGNORED, TrainingFrames, fingerprint, prepare_frames
from napari_cardioseg.train.evaluate import evaluate_frames
from napari_cardioseg.train.losses import segmentation_loss
from napari_cardioseg.train.split import split_patients
from napari_cardioseg.train.state import RunState, run_digest
from napari_cardioseg.train.teacher import fill_in_labels

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class TrainResult:
    """What a run made: the model's file, its card, and the validation record of each check."""

    path: Path
    card: ModelCard
    history: tuple[dict[str, Any], ...]


def train(
    config: TrainConfig,
    frames: Sequence[LabelledFrame],
    *,
    scheme: LabelScheme = LV_SCHEME,
    resume: bool = True,
) -> Job[TrainResult]:
    """Train a network on labelled frames, from scratch or from another model's weights.

    A checkpoint is written at each validation and when the job is closed; a later call with the same
    output folder goes on from it. Of the moving average of the weights the best on the validation patients
    are kept, or the last, as `OptimiserConfig.keep_best` says.

    Parameters
    ----------
    config : TrainConfig
        The run.
    frames : sequence of LabelledFrame
        All frames, those of the validation patients among them.
    scheme : LabelScheme
        Classes to learn.
    resume : bool
        Go on from the output folder's checkpoint if there is one.

    Raises
    ------
    ConfigError
        If patients, network or checkpoint do not fit.
    ModelError
        If the model to start from, or the teacher, is not there or of another network.
    """
    training, validation = split_patients((f.patient for f in frames), config.data.validation)
    chosen = [f for f in frames if f.patient in set(training)]
    held_out = [f for f in frames if f.patient in set(validation)]
    device = choose_device(config.device)
    description = {**config.network, "classes": len(scheme) + 1}
    state = _start(config, description, scheme, device)
    state.digest = run_digest(config, chosen, held_out)
    config.output.mkdir(parents=True, exist_ok=True)
    checkpoint = config.output / CHECKPOINT
    if resume and checkpoint.is_file():
        state.load(checkpoint)
    data = yield from _prepare(config, chosen, scheme, description, device)
    try:
        yield from _run(state, data, config, held_out, scheme)
    except (GeneratorExit, KeyboardInterrupt):
        state.save(checkpoint)
        raise
    card = _card(config, scheme, description, chosen, held_out, state)
    path = config.output / f"{config.name}{SUFFIX}"
    weights = (
        state.best_weights if config.optimiser.keep_best and state.best_weights else _copy(state.average)
    )
    write_model(path, ModelFile(card, {k: _half(v) for k, v in weights.items()}))
    return TrainResult(path, card, tuple(state.history))


def learning_rate(step: int, steps: int, warm_up: int, highest: float) -> float:
    """Give the rate at a step counted from 0: a linear warm-up, then half a cosine down to zero."""
    if step < warm_up:
        return highest * (step + 1) / warm_up
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


def _prepare(
    config: TrainConfig,
    chosen: Sequence[LabelledFrame],
    scheme: LabelScheme,
    description: Mapping[str, Any],
    device: torch.device,
) -> Job[TrainingFrames]:
    """Normalise the frames to train on, and let the teacher complete their labels if there is one."""
    share = config.data.fully_labelled_share
    data = prepare_frames(chosen, scheme, config.preprocessing, fully_labelled_share=share)
    if not config.teacher:
        return data
    teacher = _ready(config.teacher, description, scheme)
    return (yield from fill_in_labels(data, teacher, device))


def _start(
    config: TrainConfig, description: Mapping[str, Any], scheme: LabelScheme, device: torch.device
) -> RunState:
    torch.manual_seed(config.optimiser.seed)
    network, average = build_network(description), build_network(description)
    if config.parent:
        network.load_state_dict(_ready(config.parent, description, scheme).network.state_dict())
    if config.optimiser.crop % network.stride:
        raise ConfigError(
            f"A crop of {config.optimiser.crop} pixels is no multiple of this network's {network.stride}."
        )
    average.load_state_dict(network.state_dict())
    for module in (network, average):
        module.to(device)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
    average.eval().requires_grad_(False)
    # Weight decay on normalisation parameters and biases only slows learning.
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.optimiser.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ],
        lr=config.optimiser.learning_rate,
        fused=True,
    )
    return RunState(network, average, optimiser, torch.Generator().manual_seed(config.optimiser.seed))


def _ready(name_or_path: str, description: Mapping[str, Any], scheme: LabelScheme) -> Model:
    """Read a model of the same classes whose weights fit the network that is described."""
    model_file = read_model(name_or_path)
    theirs = model_file.card
    if [(c.key, c.value) for c in theirs.scheme] != [(c.key, c.value) for c in scheme]:
        raise ModelError(f"The model {theirs.name!r} has other classes than this run, or in another order.")
    return Model.build(replace(theirs, network=description), model_file.weights)


def _steps(
    state: RunState, data: TrainingFrames, config: TrainConfig, device: torch.device
) -> Iterator[float]:
    """Train to the configured step; yields the loss after each."""
    how = config.optimiser
    state.network.train()
    while state.step < how.steps:
        rate = learning_rate(state.step, how.steps, how.warm_up, how.learning_rate)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        drawn = data.sample(how.batch, state.rng)
        images, target = augment(
            data.images[drawn],
            data.labels[drawn],
            data.centres[drawn],
            how.crop,
            config.augmentation,
            config.preprocessing,
            state.rng,
        )
        target = torch.where(target == IGNORED, -1, target)
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        with mixed_precision(device):
            logits = state.network(images)
        known = data.known[drawn].to(device)
        loss = segmentation_loss(logits, target.to(device), known, config.loss)
        if not torch.isfinite(loss):
            raise ConfigError(
                f"The loss is no longer a number at step {state.step}; lower the learning rate."
            )
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(state.network.parameters(), how.gradient_norm)
        state.optimiser.step()
        state.step += 1
        _follow(state.average, state.network, min(how.average, state.step / (state.step + 10)))
        yield float(loss.detach())


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights, and the statistics of batch normalisation, towards the network's."""
    for a, b in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if a.is_floating_point():
            a.lerp_(b, 1 - decay)
        else:
            a.copy_(b)


def _run(
    state: RunState,
    data: TrainingFrames,
    config: TrainConfig,
    held_out: Sequence[LabelledFrame],
    scheme: LabelScheme,
) -> Job[None]:
    """Train to the configured step, validating and writing checkpoints on the way."""
    how = config.optimiser
    device = next(state.network.parameters()).device
    if state.unchecked is not None:  # taken up again where a validation was still to come
        yield from _check(state, held_out, scheme, config)
    for loss in _steps(state, data, config, device):
        if state.step % how.validate_every == 0 or state.step == how.steps:
            state.unchecked = loss
        yield Progress(state.step, how.steps, f"Training, loss {loss:.3f}")
        if state.unchecked is not None:
            yield from _check(state, held_out, scheme, config)


def _check(
    state: RunState, held_out: Sequence[LabelledFrame], scheme: LabelScheme, config: TrainConfig
) -> Job[None]:
    """Validate the averaged network, keep it if it is the best so far, and write a checkpoint."""
    record: dict[str, Any] = {"step": state.step, "loss": state.unchecked}
    if held_out:
        card = ModelCard(config.name, config.network, scheme, config.preprocessing)
        options = PredictOptions(config.device, tta=False)
        job = evaluate_frames(held_out, Model(state.average, card), options, scheme=scheme)
        steps = config.optimiser.steps
        report = yield from retold(
            job, lambda p: Progress(state.step, steps, f"Validating, {p.message}", p.note)
        )
        found = {key: scores for key, scores in report["classes"].items() if scores["n_slices"]}
        record["dice"] = {key: scores["dice_slice_mean"] for key, scores in found.items()}
        record["failures"] = {key: scores["failures"] for key, scores in found.items()}
        record["score"] = float(np.mean(list(record["dice"].values())))
        if record["score"] > state.best:
            state.best, state.best_weights = record["score"], _copy(state.average)
    state.history.append(record)
    state.unchecked = None
    state.save(config.output / CHECKPOINT)
    _log(config.output / LOG, record)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _half(value: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """Halve the size on disk: weights of a trained network lose nothing measurable as float16."""
    return np.asarray((value.half() if value.is_floating_point() else value).contiguous().numpy())


def _log(path: Path, record: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _card(
    config: TrainConfig,
    scheme: LabelScheme,
    description: Mapping[str, Any],
    chosen: Sequence[LabelledFrame],
    held_out: Sequence[LabelledFrame],
    state: RunState,
) -> ModelCard:
    checked = [r for r in state.history if "score" in r]
    kept = max(checked, key=lambda r: r["score"]) if config.optimiser.keep_best and checked else None
    return ModelCard(
        name=config.name,
        network=description,
        scheme=scheme,
        preprocessing=config.preprocessing,
        training={
            "patients": sorted({f.patient for f in chosen}),
            "frames": len(chosen),
            "data_sha256": fingerprint(chosen),
            "validation_patients": sorted({f.patient for f in held_out}),
            "teacher": Path(config.teacher).stem,
            "steps": state.step,
            "optimiser": asdict(config.optimiser),
            "augmentation": asdict(config.augmentation),
            "software": {"napari-cardioseg": __version__, "torch": torch.__version__},
        },
        parent=Path(config.parent).stem,
        metrics={"validation": kept or checked[-1]} if checked else {},
        description=config.description,
    )
