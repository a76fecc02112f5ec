"""Segment the frames of one stack: find the heart on some, look closely on all, agree."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_cardioseg.domain import ConfigError, Job, Progress
from napari_cardioseg.predict.engine import Engine
from napari_cardioseg.predict.infer import AS_IT_IS, TEST_TIME_VIEWS, batches
from napari_cardioseg.predict.model import Model
from napari_cardioseg.predict.preprocess import normalise, resampling_factor
from napari_cardioseg.predict.region import Region, region_of_heart
from napari_cardioseg.refine import clean_up

_LOCATING_FRAMES = 48  # enough of any stack to outvote the frames that fool the network
_CELL = 4  # the evidence is kept on cells of this many pixels


@dataclass(frozen=True)
class PredictOptions:
    """How to predict.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda" or "mps".
    tta : bool
        Average over several views of each image (test-time augmentation).
    clean_up : bool
        Keep one whole ventricle on each frame.
    batch_size : int, optional
        Frames computed at once; chosen from the memory by default.
    """

    device: str = "auto"
    tta: bool = True
    clean_up: bool = True
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError("The batch size must be at least 1.")


@dataclass(frozen=True)
class FramesPrediction:
    """Labels (n, y, x) uint8 of frames, their uncertainty (n,) in 0 to 1, and notes for the user."""

    labels: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """A region of the network's grid, of size `shape`, and where it lies on the native one."""

    region: Region
    shape: tuple[int, int]
    native: tuple[int, int]

    @property
    def window(self) -> Region:
        """The native pixels whose centres lie in the region."""
        spans = []
        for span, n, m in zip((self.region.rows, self.region.columns), self.shape, self.native, strict=True):
            start, stop = (math.ceil(edge * m / n - 0.5) for edge in (span.start, span.stop))
            spans.append(slice(max(start, 0), min(stop, m)))
        return Region(spans[0], spans[1])

    def to_native(self, p: Tensor) -> Tensor:
        """Bring probabilities (n, classes, y, x) of the region to the native pixels of the window."""
        if self.shape == self.native:
            return p
        window, axes = self.window, []
        for here, there, n, m in zip(
            (self.region.rows, self.region.columns),
            (window.rows, window.columns),
            self.shape,
            self.native,
            strict=True,
        ):
            centres = (torch.arange(there.start, there.stop) + 0.5) * n / m - here.start
            axes.append(2 * centres / (here.stop - here.start) - 1)
        grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)
        grid = grid[None].expand(len(p), -1, -1, -1)
        return F.grid_sample(p, grid, mode="bilinear", padding_mode="border", align_corners=False)


def predict_frames(
    frames: NDArray[np.generic],
    pixel_size: tuple[float, float] | None,
    model: Model,
    options: PredictOptions,
    *,
    others: NDArray[np.generic] | None = None,
) -> Job[FramesPrediction]:
    """Segment frames that show the same heart at different slices and phases.

    The heart is located on a sample of the frames, seen whole; then every frame is segmented in a square
    around it. What a single frame shows elsewhere cannot be taken for a second heart.

    Parameters
    ----------
    frames : (n, y, x) array
        Images in any unit.
    pixel_size : (dy, dx) in mm, or None
        In-plane spacing where known.
    model : Model
        The network and how it wants its input.
    options : PredictOptions
        Device, test-time augmentation, clean-up.
    others : (m, y, x) array, optional
        Further frames of the same stack, which help to locate the heart.

    Returns
    -------
    FramesPrediction

    Raises
    ------
    ConfigError
        If the device is not there.
    """
    engine = Engine(model.network, options.device, options.batch_size)
    sample = _locating_sample(frames if others is None else np.concatenate((frames, others)))
    steps = len(sample) + len(frames)
    evidence, shape = yield from _locate(sample, pixel_size, model, engine, steps)
    place = _Place(region_of_heart(evidence, shape), shape, (frames.shape[1], frames.shape[2]))
    views = TEST_TIME_VIEWS if options.tta else AS_IT_IS
    labels = np.zeros(frames.shape, dtype=np.uint8)
    uncertainty = np.empty(len(frames), dtype=np.float32)
    heart = np.zeros(place.window.shape)
    values = np.array([0, *model.card.scheme.values], dtype=np.uint8)
    notes: list[str] = []
    for part in batches(len(frames), engine.batch_size(int(np.prod(place.region.shape)) * len(views))):
        p = place.to_native(engine.probabilities(_near(frames[part], pixel_size, model, place.region), views))
        labels[part, place.window.rows, place.window.columns] = values[p.argmax(dim=1).numpy()]
        uncertainty[part] = expected_error(p).numpy()
        heart += (1 - p[:, 0]).sum(dim=0).numpy()
        news = engine.take_notes()
        notes += news
        yield Progress(len(sample) + part.stop, steps, "Segmenting", " ".join(news))
    if options.clean_up:
        box = (slice(None), place.window.rows, place.window.columns)
        labels[box] = clean_up(labels[box], heart, model.card.scheme)
    return FramesPrediction(labels, uncertainty, tuple(notes))


def expected_error(p: Tensor) -> Tensor:
    """Estimate how wrong each frame's most probable labels are, by the network's own probabilities.

    One minus the expected soft Dice of foreground: were the probabilities right, the Dice to the truth
    would fall short of 1 by about this much.

    Parameters
    ----------
    p : (n, classes, y, x) tensor
        Class probabilities; channel 0 is background.

    Returns
    -------
    (n,) tensor
        From 0, sure, to 1.
    """
    chosen = torch.zeros_like(p).scatter_(1, p.argmax(dim=1, keepdim=True), 1.0)[:, 1:]
    overlap = (p[:, 1:] * chosen).sum(dim=(1, 2, 3))
    size = p[:, 1:].sum(dim=(1, 2, 3)) + chosen.sum(dim=(1, 2, 3))
    # One pixel's worth keeps a frame without any heart sure of itself.
    return 1 - (2 * overlap + 1) / (size + 1)


def _locating_sample(frames: NDArray[np.generic]) -> NDArray[np.generic]:
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), _LOCATING_FRAMES)).round().astype(int)
    sample: NDArray[np.generic] = frames[chosen]
    return sample


def _locate(
    sample: NDArray[np.generic],
    pixel_size: tuple[float, float] | None,
    model: Model,
    engine: Engine,
    total: int,
) -> Generator[Progress, None, tuple[NDArray[np.float64], tuple[int, int]]]:
    """Gather the evidence of heart over whole frames; also gives their size on the network's grid."""
    evidence: NDArray[np.float64] | None = None
    shape = (0, 0)
    pixels = int(np.prod(_prepare(sample[:1], pixel_size, model).shape))
    for part in batches(len(sample), engine.batch_size(pixels)):
        images = _prepare(sample[part], pixel_size, model)
        shape = (images.shape[1], images.shape[2])
        heart = 1 - engine.probabilities(images, AS_IT_IS)[:, :1]
        cells = F.adaptive_avg_pool2d(heart, (-(-shape[0] // _CELL), -(-shape[1] // _CELL)))
        found = cells.sum(dim=(0, 1)).double().numpy()
        evidence = found if evidence is None else evidence + found
        yield Progress(part.stop, total, "Looking for the heart")
    assert evidence is not None  # a stack has at least one frame
    return evidence, shape


def _prepare(frames: NDArray[np.generic], pixel_size: tuple[float, float] | None, model: Model) -> Tensor:
    """Normalise frames and bring them to the network's spacing."""
    images = torch.from_numpy(normalise(frames, model.card.preprocessing))
    factor = resampling_factor(pixel_size, model.card.preprocessing)
    if factor == (1.0, 1.0):
        return images
    size = [max(round(n * f), 1) for n, f in zip(images.shape[1:], factor, strict=True)]
    return F.interpolate(images[:, None], size=size, mode="bilinear", antialias=True)[:, 0]


def _near(
    frames: NDArray[np.generic], pixel_size: tuple[float, float] | None, model: Model, region: Region
) -> Tensor:
    """Prepare the part of the frames around the heart."""
    images = _prepare(frames, pixel_size, model)[:, region.rows, region.columns]
    # The chest wall near the coil outshines a heart far from it: let the heart set its own contrast.
    return torch.from_numpy(normalise(images.numpy(), model.card.preprocessing))
