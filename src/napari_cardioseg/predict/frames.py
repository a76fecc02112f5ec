"""Segment the frames of one stack: find the heart on some, look closely on all, agree."""

from __future__ import annotations

from collections.abc import Generator, Iterator
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
from napari_cardioseg.predict.preprocess import FIELD_OF_VIEW, normalise, resampling_factor
from napari_cardioseg.predict.region import Place, Region, region_of_heart
from napari_cardioseg.refine import clean_up

_LOCATING_FRAMES = 48  # enough of any stack to outvote the frames that fool the network
_CELL = 4  # the evidence is kept on cells of this many pixels
_MAY_BE = 0.05  # probability from which a pixel counts as possibly heart
_SMALL_AREA = 20.0  # pixels: doubt about less than this is no doubt about the frame


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

    Raises
    ------
    ConfigError
        If the device is not there.
    """
    engine = Engine(model.network, options.device, options.batch_size)
    notes = list(_notes_on_size(frames, pixel_size, model))
    sample = _locating_sample(frames, others)
    steps = len(sample) + len(frames)
    evidence, shape = yield from _locate(sample, pixel_size, model, engine, steps)
    place = Place(region_of_heart(evidence, shape), shape, (frames.shape[1], frames.shape[2]))
    support = place.spread(evidence)
    views = TEST_TIME_VIEWS if options.tta else AS_IT_IS
    labels = np.zeros(frames.shape, dtype=np.uint8)
    uncertainty = np.empty(len(frames), dtype=np.float32)
    values = np.array([0, *model.card.scheme.values], dtype=np.uint8)
    pixels = int(np.prod(place.region.shape)) * len(views)
    done = 0
    while done < len(frames):
        part = slice(done, min(done + engine.batch_size(pixels), len(frames)))
        p = place.to_native(engine.probabilities(_near(frames[part], pixel_size, model, place.region), views))
        found = values[p.argmax(dim=1).numpy()]
        if options.clean_up:
            found = clean_up(found, support, model.card.scheme)
        labels[part, place.window.rows, place.window.columns] = found
        uncertainty[part] = expected_error(
            p, torch.from_numpy(found[:, None] == values[:, None, None])
        ).numpy()
        done = part.stop
        news = engine.take_notes()
        notes += news
        yield Progress(len(sample) + done, steps, "Segmenting", " ".join(news))
    return FramesPrediction(labels, uncertainty, tuple(notes))


def expected_error(p: Tensor, chosen: Tensor) -> Tensor:
    """Estimate how wrong each frame's labels are, by the network's own probabilities.

    One minus the expected soft Dice of foreground: were the probabilities right, the Dice to the truth
    would fall short of 1 by about this much.

    Parameters
    ----------
    p : (n, classes, y, x) tensor
        Class probabilities; channel 0 is background.
    chosen : (n, classes, y, x) bool tensor
        The masks of all channels.

    Returns
    -------
    (n,) tensor
        From 0, sure, to 1.
    """
    # A little everywhere adds up over a frame and means nothing: only what may be heart counts.
    heart = torch.where(p[:, 1:] >= _MAY_BE, p[:, 1:], 0.0)
    overlap = (heart * chosen[:, 1:]).sum(dim=(1, 2, 3))
    size = heart.sum(dim=(1, 2, 3)) + chosen[:, 1:].sum(dim=(1, 2, 3))
    return 1 - (2 * overlap + _SMALL_AREA) / (size + _SMALL_AREA)


def _notes_on_size(
    frames: NDArray[np.generic], pixel_size: tuple[float, float] | None, model: Model
) -> Iterator[str]:
    shape = (frames.shape[1], frames.shape[2])
    if pixel_size is None and resampling_factor(shape, None, model.card.preprocessing) != (1.0, 1.0):
        yield (
            "The images do not state their pixel size; they were taken to be "
            f"{FIELD_OF_VIEW:.0f} mm wide, and the masks are worse where they are not."
        )


def _locating_sample(frames: NDArray[np.generic], others: NDArray[np.generic] | None) -> NDArray[np.generic]:
    """Choose some frames, evenly, from two sets."""
    n = len(frames)
    total = n if others is None else n + len(others)
    chosen = np.linspace(0, total - 1, min(total, _LOCATING_FRAMES)).round().astype(int)
    sample: NDArray[np.generic] = frames[chosen[chosen < n]]
    return sample if others is None else np.concatenate((sample, others[chosen[chosen >= n] - n]))


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
    shape = (images.shape[1], images.shape[2])
    factor = resampling_factor(shape, pixel_size, model.card.preprocessing)
    if factor == (1.0, 1.0):
        return images
    size = [max(round(n * f), 1) for n, f in zip(shape, factor, strict=True)]
    return F.interpolate(images[:, None], size=size, mode="bilinear", antialias=True)[:, 0]


def _near(
    frames: NDArray[np.generic], pixel_size: tuple[float, float] | None, model: Model, region: Region
) -> Tensor:
    """Prepare the part of the frames around the heart."""
    images = _prepare(frames, pixel_size, model)[:, region.rows, region.columns]
    # The chest wall near the coil outshines a heart far from it: let the heart set its own contrast.
    return torch.from_numpy(normalise(images.numpy(), model.card.preprocessing))
