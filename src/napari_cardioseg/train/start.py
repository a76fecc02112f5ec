"""How a run begins: the network, and the weights it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from napari_cardioseg.domain import LabelScheme, ModelError
from napari_cardioseg.models import SegmentationNetwork, build_network
from napari_cardioseg.models.pretrained import load_checkpoint, read_checkpoint, stage_of
from napari_cardioseg.predict.model import Model
from napari_cardioseg.store.models import find_model, read_card, read_model
from napari_cardioseg.train.batches import seed_network
from napari_cardioseg.train.config import TrainConfig
from napari_cardioseg.train.distributed import World
from napari_cardioseg.train.evaluate import taught
from napari_cardioseg.train.optimise import build_optimiser
from napari_cardioseg.train.state import RunState
from napari_cardioseg.train.stepping import make_scaler


def start(config: TrainConfig, scheme: LabelScheme, world: World) -> tuple[RunState, str]:
    """Make a run's state before its first step.

    Parameters
    ----------
    config : TrainConfig
        The run.
    scheme : LabelScheme
        The classes to learn.
    world : World
        Who trains along.

    Returns
    -------
    RunState
    str
        What was taken of the parent, for the user; empty where it was all or nothing.

    Raises
    ------
    ConfigError
        If the device is not there, or the optimiser's settings do not fit the network.
    ModelError
        If there is no such network, or the parent is not there or does not fit.
    """
    device = world.device(config.device)
    description = describe(config, scheme)
    seed_network(config.optimiser.seed, 0, 0)
    network, average = build_network(description), build_network(description)
    note = ""
    if config.parent and config.partial_parent:
        note = _take_what_fits(network, config.parent)
    elif config.parent:
        network.load_state_dict(ready_model(config.parent, scheme, description).network.state_dict())
    average.load_state_dict(network.state_dict())
    for module in (network, average):
        module.to(device)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
    average.eval().requires_grad_(False)
    network = world.synchronised(network, device)
    optimiser = build_optimiser(network, config.optimiser)
    return RunState(network, average, optimiser, make_scaler(config.optimiser.precision, device)), note


def describe(config: TrainConfig, scheme: LabelScheme) -> dict[str, Any]:
    """Give the whole description of the run's network, for `build_network` and the model's card."""
    return {**config.network, "classes": len(scheme) + 1}


def ready_model(
    name_or_path: str, scheme: LabelScheme, description: Mapping[str, Any] | None = None
) -> Model:
    """Read a model of the same classes, and of the network that is described if one is.

    Raises
    ------
    ModelError
        If it is not there, or of other classes or another network.
    """
    model_file = read_model(name_or_path)
    theirs = model_file.card
    if [(c.key, c.value) for c in theirs.scheme] != [(c.key, c.value) for c in scheme]:
        raise ModelError(f"The model {theirs.name!r} has other classes than this run, or in another order.")
    if description is None:
        return Model.build(theirs, model_file.weights)
    try:
        return Model.build(replace(theirs, network=description), model_file.weights)
    except ModelError as error:
        if theirs.network == description:  # then the file itself is at fault
            raise
        written = ", ".join(f"{k} = {v!r}" for k, v in theirs.network.items() if k != "classes")
        raise ModelError(
            f"The model {theirs.name!r} does not fit this run's network, for its own is {written}. "
            "Describe the same one under [network], or set partial_parent = true to take what fits."
        ) from error


def taught_before(config: TrainConfig) -> list[str]:
    """Name the patients from whom the parent and the teacher have learnt, as far as their cards tell."""
    patients: set[str] = set()
    for model in (config.parent, config.teacher):
        try:
            patients |= taught(read_card(find_model(model))) if model else set()
        except ModelError:  # a checkpoint of another program, of which some fits, has no card
            continue
    return sorted(patients)


def _take_what_fits(network: SegmentationNetwork, parent: str) -> str:
    """Give the network those of a parent's weights that fit it; gives a sentence on which do not."""
    path = Path(parent)
    report = load_checkpoint(network, read_checkpoint(path if path.is_file() else find_model(parent)))
    fresh, unused = (
        ", ".join(dict.fromkeys(map(stage_of, names))) for names in (report.fresh, report.unused)
    )
    return (
        f"{len(report.loaded)} tensors of {path.name} fit the network, which starts afresh in "
        f"{fresh or 'nothing'}; not used: {unused or 'nothing'}."
    )
