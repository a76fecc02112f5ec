"""One run on several GPUs or machines: every process takes its share of each batch.

Started by `torchrun`, which tells each process its rank. What is learnt is what one process would learn from
the whole batch: the loss is taken of all shares together, and batch normalisation works on the statistics of
all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from napari_cardioseg.domain import ConfigError
from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.predict.device import choose_device

T = TypeVar("T")

_PATIENCE = timedelta(hours=6)  # the others wait while the first process validates


@dataclass(frozen=True)
class World:
    """The processes that train together; one alone by default.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        How many there are.
    local_rank : int
        Number of this process on its machine, which is that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process is the one that validates and writes."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Give this process's device of the kind `name`.

        Raises
        ------
        ConfigError
            If this machine does not have it.
        """
        device = choose_device(name)
        if self.size > 1 and device.type == "cuda":
            return choose_device(f"cuda:{self.local_rank}")
        return device

    def share(self, n: int) -> range:
        """Give this process's places in a batch of `n`.

        Raises
        ------
        ConfigError
            If the batch cannot be shared out evenly.
        """
        if n % self.size:
            raise ConfigError(
                f"A batch of {n} cannot be shared by {self.size} processes; choose a multiple of {self.size}."
            )
        part = n // self.size
        return range(self.rank * part, (self.rank + 1) * part)

    def gather(self, mine: Tensor) -> Tensor:
        """Join the shares of all processes to the whole batch; gradients flow to this process's own."""
        if self.size == 1:
            return mine
        parts = [torch.empty_like(mine, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, mine.detach().contiguous())
        parts[self.rank] = mine
        return torch.cat(parts)

    def from_leader(self, make: Callable[[], T]) -> T:
        """Let the leading process make a value and give it to all."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.leads else None]
        dist.broadcast_object_list(box)
        value: T = box[0]
        return value

    def synchronised(self, network: SegmentationNetwork, device: torch.device) -> SegmentationNetwork:
        """Let batch normalisation work on the whole batch; to be done before the optimiser is made."""
        if self.size == 1:
            return network
        if device.type == "cuda":
            # torch leaves it untyped
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-any-return,no-untyped-call]
        group = dist.new_group()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = _SharedBatchNorm  # with the same weights, statistics and hooks
                module.group = group
        return network

    def outputs_of(self, network: SegmentationNetwork) -> nn.Module:
        """Make a module that gives the network's training outputs and shares the gradients."""
        outputs = _TrainingOutputs(network)
        return outputs if self.size == 1 else DistributedDataParallel(outputs)


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that `torchrun` started with this one, if it did, and leave them at the end.

    Within it, further calls give the same world.

    Parameters
    ----------
    device : str
        Of the run: the processes talk by NCCL on GPUs, else by Gloo.
    """
    rank, size, local = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    world = World(rank, size, local)
    if size == 1 or dist.is_initialized():
        yield world
        return
    place = world.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield world
    finally:
        dist.destroy_process_group()


class _TrainingOutputs(nn.Module):
    """The network as `DistributedDataParallel` wants it: what is trained is its `forward`."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[tuple[float, Tensor], ...]:
        """Give the weight and the logits of each output."""
        return self.network.training_outputs(images)


class _Sum(torch.autograd.Function):
    """The sum over all processes, through which gradients flow (PyTorch's own is being retired)."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, group: Any) -> Tensor:
        """Add up one tensor of each process."""
        ctx.group = group
        total = mine.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Add up what each process made of the sum."""
        total = gradients[0].clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the shares of all processes, for CPUs, where PyTorch has none.

    Mean and variance are those of equal shares together, by two sums through which gradients flow.
    """

    group: Any

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (batch, channels, y, x) features."""
        if not self.training:
            return super().forward(features)
        values = features.float()
        mean = self._over_all(values.mean(dim=(0, 2, 3)))
        centred = values - mean[:, None, None]
        variance = self._over_all(centred.square().mean(dim=(0, 2, 3)))
        self._remember(mean.detach(), variance.detach(), values.numel() // self.num_features)
        normal = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            normal = normal * self.weight[:, None, None] + self.bias[:, None, None]
        return normal.to(features.dtype)

    def _over_all(self, mine: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(mine, self.group)  # type: ignore[no-untyped-call]  # untyped in torch
        return total / dist.get_world_size(self.group)

    def _remember(self, mean: Tensor, variance: Tensor, n_mine: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        n = n_mine * dist.get_world_size(self.group)
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * n / (n - 1), share)
