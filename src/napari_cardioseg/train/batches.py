"""The batches of a run: which crops of which frames each step learns from.

Crop k of batch i is a function of the run's seed, i and k alone. So a run gives the same whether its batches
are made in its own process or by workers, whole or in shares, in one go or after a stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from napari_cardioseg.domain import Preprocessing
from napari_cardioseg.train.augment import Augmentation, augment
from napari_cardioseg.train.data import IGNORED, TrainingFrames
from napari_cardioseg.train.losses import LossConfig, pixel_weights

_DRAW, _CROP, _NETWORK = range(3)  # what a seed is for


@dataclass(frozen=True)
class Batch:
    """What one step, or a part of it, learns from.

    Parameters
    ----------
    images : (batch, 1, y, x) float32 tensor
    target : (batch, y, x) int64 tensor
        Output channel of each pixel, -1 where it teaches nothing.
    known : (batch, classes) bool tensor
        Which channels were annotated.
    weights : (batch, y, x) float32 tensor, optional
        Of the pixels.
    """

    images: Tensor
    target: Tensor
    known: Tensor
    weights: Tensor | None

    def pin_memory(self) -> Batch:
        """Move to memory from which a GPU copies fast; `DataLoader` calls it."""
        weights = None if self.weights is None else self.weights.pin_memory()
        return Batch(self.images.pin_memory(), self.target.pin_memory(), self.known.pin_memory(), weights)


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """All batches of a run, made when asked for.

    Parameters
    ----------
    data : TrainingFrames
        To draw from.
    size, crop : int
        Crops in a whole batch, and their side in pixels.
    stride : int
        Of the network: crops are extended at their lower and right borders to a multiple of it, by pixels
        that teach nothing.
    share : range
        This process's places in the batch.
    augmentation : Augmentation
    preprocessing : Preprocessing
    loss : LossConfig
        Settled; says whether pixels have weights.
    seed : int
        Of the run.
    """

    data: TrainingFrames
    size: int
    crop: int
    stride: int
    share: range
    augmentation: Augmentation
    preprocessing: Preprocessing
    loss: LossConfig
    seed: int

    def __getitem__(self, index: int) -> Batch:
        """Make this process's share of the batch `index`."""
        drawn = self.data.sample(self.size, _generator(self.seed, _DRAW, index))[
            self.share.start : self.share.stop
        ]
        crops = [
            self._crop(frame, _generator(self.seed, _CROP, index, place))
            for frame, place in zip(drawn.tolist(), self.share, strict=True)
        ]
        beyond = (0, -self.crop % self.stride) * 2
        images = F.pad(torch.cat([image for image, _ in crops]), beyond, mode="replicate")
        labels = F.pad(torch.cat([label for _, label in crops]), beyond, value=IGNORED)
        target = torch.where(labels == IGNORED, -1, labels)
        known = self.data.known[drawn]
        return Batch(images, target, known, pixel_weights(target, self.loss))

    def _crop(self, frame: int, rng: Generator) -> tuple[Tensor, Tensor]:
        one = slice(frame, frame + 1)
        data = self.data
        return augment(
            data.images[one],
            data.labels[one],
            data.centres[one],
            self.crop,
            self.augmentation,
            self.preprocessing,
            rng,
            None if data.near is None else data.near[one],
            data.ring,
        )


def load_batches(batches: Batches, which: range, workers: int, *, pin: bool) -> Iterator[Batch]:
    """Give the batches `which` in turn, made ahead by `workers` processes if there are any."""
    if which:
        yield from DataLoader(
            batches,
            batch_size=None,
            sampler=which,
            num_workers=workers,
            pin_memory=pin,
            generator=torch.Generator(),  # or it would draw a seed that nobody needs from torch's own
        )


def seed_network(seed: int, step: int, rank: int) -> None:
    """Seed what a network draws itself in a step (dropout), apart for each process."""
    torch.manual_seed(_number(seed, _NETWORK, step, rank))


def _generator(*key: int) -> Generator:
    return Generator().manual_seed(_number(*key))


def _number(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
