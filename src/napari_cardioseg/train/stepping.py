"""One step of training: a batch, its loss, and what the weights make of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from napari_cardioseg.domain import ConfigError
from napari_cardioseg.predict.device import mixed_precision
from napari_cardioseg.train.batches import Batch, Batches, load_batches, seed_network
from napari_cardioseg.train.config import TrainConfig
from napari_cardioseg.train.data import TrainingFrames
from napari_cardioseg.train.distributed import World
from napari_cardioseg.train.losses import segmentation_loss
from napari_cardioseg.train.optimise import average_decay, follow, set_rates
from napari_cardioseg.train.state import RunState

_MOST_WORKERS = 8


def train_steps(state: RunState, data: TrainingFrames, config: TrainConfig, world: World) -> Iterator[float]:
    """Train on to the configured step; yields the loss after each.

    Parameters
    ----------
    state : RunState
        Changed in place.
    data : TrainingFrames
        To learn from.
    config : TrainConfig
        Its loss settled.
    world : World
        Who trains along.

    Raises
    ------
    ConfigError
        If the loss is no longer a number, or a batch too small for the network or too large for the memory.
    """
    how = config.optimiser
    device = next(state.network.parameters()).device
    outputs = world.outputs_of(state.network)
    batches = Batches(
        data,
        how.batch,
        how.crop,
        state.network.stride,
        world.share(how.batch),
        config.augmentation,
        config.preprocessing,
        config.loss,
        how.seed,
    )
    which = range(state.step * how.accumulate, how.steps * how.accumulate)
    workers = config.run.workers if config.run.workers is not None else _helpful_workers(device)
    loader = load_batches(batches, which, workers, pin=device.type == "cuda")
    state.network.train()
    while state.step < how.steps:
        seed_network(how.seed, state.step, world.rank)
        set_rates(state.optimiser, state.step, how)
        state.optimiser.zero_grad(set_to_none=True)
        loss = 0.0
        for part in range(1, how.accumulate + 1):
            with _explained(), _gradients_shared(outputs, only_if=part == how.accumulate):
                loss += _learn(next(loader), outputs, state, config, world, device) / how.accumulate
        _update(state, config)
        state.step += 1
        follow(state.average, state.network, average_decay(state.step, how))
        yield loss


def precision_of(name: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Give the context in which the network computes in the precision `name` of `OptimiserConfig`.

    Raises
    ------
    ConfigError
        If the device has no such precision.
    """
    if name == "auto":
        return mixed_precision(device)
    if name == "fp32":
        return contextlib.nullcontext()
    if device.type == "mps" or (name == "fp16" and device.type != "cuda"):
        raise ConfigError(
            f'Training in {name} is not possible on {device.type}; set precision = "auto" or "fp32".'
        )
    return torch.autocast(device.type, torch.float16 if name == "fp16" else torch.bfloat16)


def make_scaler(name: str, device: torch.device) -> torch.amp.GradScaler:
    """Make the scaler that keeps small gradients above zero in float16; idle in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=name == "fp16")


def _helpful_workers(device: torch.device) -> int:
    """Choose how many processes make batches.

    On a CPU, where a step takes ten times as long as its batch and all cores already, they do not help; a GPU
    would wait for its batches without them.
    """
    if device.type == "cpu":
        return 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min((os.cpu_count() or 1) // processes, _MOST_WORKERS)


def _gradients_shared(outputs: nn.Module, *, only_if: bool) -> contextlib.AbstractContextManager[None]:
    """Let processes add up their gradients once a step, however many batches it accumulates."""
    if isinstance(outputs, DistributedDataParallel) and not only_if:
        return outputs.no_sync()
    return contextlib.nullcontext()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say in a sentence which of torch's complaints the user's settings can mend."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            "The device's memory does not hold a batch; lower optimiser.batch (and raise "
            "optimiser.accumulate for it) or optimiser.crop."
        ) from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "Batch normalisation of this network's smallest features cannot learn from a single crop; raise "
            "optimiser.batch (or optimiser.crop), or set optimiser.freeze_norm = true."
        ) from error


def _learn(
    batch: Batch,
    outputs: nn.Module,
    state: RunState,
    config: TrainConfig,
    world: World,
    device: torch.device,
) -> float:
    """Add the gradients of one batch to the network's; gives its loss."""
    images = batch.images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    with precision_of(config.optimiser.precision, device):
        found = outputs(images)
    target, known = (world.gather(t.to(device, non_blocking=True)) for t in (batch.target, batch.known))
    weights = None if batch.weights is None else world.gather(batch.weights.to(device, non_blocking=True))
    loss = torch.zeros((), device=device)
    for weight, logits in found:
        loss = loss + weight * segmentation_loss(
            world.gather(logits.float()), target, known, config.loss, weights
        )
    value = float(loss.detach())
    if value != value or abs(value) == float("inf"):
        raise ConfigError(f"The loss is no longer a number at step {state.step}; lower the learning rate.")
    # Gradients are averaged over processes, but each has only those of its own share of one common loss.
    share: Tensor = state.scaler.scale(loss * (world.size / config.optimiser.accumulate))
    share.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return value


def _update(state: RunState, config: TrainConfig) -> None:
    """Let the optimiser take its step, no longer than the configured norm allows."""
    if config.optimiser.gradient_norm:
        state.scaler.unscale_(state.optimiser)
        nn.utils.clip_grad_norm_(state.network.parameters(), config.optimiser.gradient_norm)
    state.scaler.step(state.optimiser)
    state.scaler.update()
