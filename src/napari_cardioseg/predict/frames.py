"""Segment the frames of one stack: find the heart on some, look closely on all, agree."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_cardioseg.domain import ConfigError, Job, LabelScheme, Progress
from napari_cardioseg.predict.decide import choose_labels, expected_error
from napari_cardioseg.predict.engine import Engine
from napari_cardioseg.predict.infer import AS_IT_IS, TEST_TIME_VIEWS, batches
from napari_cardioseg.predict.model import Model
from napari_cardioseg.predict.preprocess import FIELD_OF_VIEW, network_pixel_size, resampling_factor
from napari_cardioseg.predict.region import Place, Region, region_of_heart, sides_in_pixels
from napari_cardioseg.predict.stack import Stack
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


def predict_frames(
    frames: NDArray[np.generic],
    pixel_size: tuple[float, float] | None,
    model: Model,
    options: PredictOptions,
    *,
    others: NDArray[np.generic] | None = None,
    volumes: NDArray[np.intp] | None = None,
) -> Job[FramesPrediction]:
    """Segment frames that show the same heart at different slices and phases.

    The heart is located on a sample of the frames, seen whole; then every frame is segmented in a square
    around it. What a single frame shows elsewhere cannot be taken for a second heart. A model that is not
    to look for the heart segments whole frames.

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
        Further frames of the same stack, which help to locate the heart and to measure intensities.
    volumes : (n + m,) int array, optional
        Which volume, all slices at one phase, each of the frames and then of the others belongs to; all
        to one by default. Models of the scope "volume" measure intensities volume by volume.

    Raises
    ------
    ConfigError
        If the device, or SimpleITK for a model that needs it, is not there.
    """
    engine, n, card = Engine(model.network, options.device, options.batch_size), len(frames), model.card
    notes = list(_notes_on_size(frames, pixel_size, model))
    everything = frames if others is None else np.concatenate((frames, others))
    stack = Stack(everything, volumes, pixel_size, card.preprocessing)
    yield from stack.correct_bias()
    located = min(len(stack), _LOCATING_FRAMES) if card.preprocessing.locate else 0
    place, support = yield from _place(stack, located, pixel_size, model, engine, located + n)
    views = TEST_TIME_VIEWS if options.tta else AS_IT_IS
    labels = np.zeros(frames.shape, dtype=np.uint8)
    uncertainty = np.empty(n, dtype=np.float32)
    done = 0
    while done < n:
        size = engine.batch_size(int(np.prod(place.region.shape)) * len(views))
        which = np.arange(done, min(done + size, n))
        images = stack.whole(which) if support is None else stack.near(which, place.region)
        p = place.to_native(engine.probabilities(images, views))
        found, doubt = _masks(p, support, card.scheme, clean=options.clean_up)
        labels[which, place.window.rows, place.window.columns] = found
        uncertainty[which] = doubt
        done += len(which)
        news = engine.take_notes()
        notes += news
        yield Progress(located + done, located + n, "Segmenting", " ".join(news))
    return FramesPrediction(labels, uncertainty, tuple(notes))


def _masks(
    p: Tensor, support: NDArray[np.float64] | None, scheme: LabelScheme, *, clean: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Choose labels (n, y, x) by probabilities (n, classes, y, x), and say how doubtful they are (n,)."""
    values = np.array([0, *scheme.values], dtype=np.uint8)
    found: NDArray[np.uint8] = values[choose_labels(p).numpy()]
    if clean and support is not None:
        found = clean_up(found, support, scheme)
    elif clean:  # nobody looked for the heart: each frame tells by itself where it is
        hearts = (1 - p[:, 0]).numpy()
        found = np.concatenate(
            [clean_up(one[None], heart, scheme) for one, heart in zip(found, hearts, strict=True)]
        )
    doubt: NDArray[np.float32] = expected_error(
        p, torch.from_numpy(found[:, None] == values[:, None, None])
    ).numpy()
    return found, doubt


def _notes_on_size(
    frames: NDArray[np.generic], pixel_size: tuple[float, float] | None, model: Model
) -> Iterator[str]:
    shape, preprocessing = (frames.shape[1], frames.shape[2]), model.card.preprocessing
    if pixel_size is not None or preprocessing.resize is not None:
        return
    if resampling_factor(shape, None, preprocessing) != (1.0, 1.0):
        yield (
            "The images do not state their pixel size; they were taken to be "
            f"{FIELD_OF_VIEW:.0f} mm wide, and the masks are worse where they are not."
        )


def _place(
    stack: Stack,
    located: int,
    pixel_size: tuple[float, float] | None,
    model: Model,
    engine: Engine,
    total: int,
) -> Generator[Progress, None, tuple[Place, NDArray[np.float64] | None]]:
    """Find the heart on `located` of the frames, evenly; the whole frame, without evidence, if on none."""
    if not located:
        return Place(Region.whole(stack.shape), stack.shape, stack.native), None
    sample = np.linspace(0, len(stack) - 1, located).round().astype(np.intp)
    evidence = yield from _locate(stack, sample, engine, total)
    pixel = network_pixel_size(stack.native, pixel_size, model.card.preprocessing)
    region = region_of_heart(evidence, stack.shape, sides_in_pixels(pixel, model.network.stride))
    place = Place(region, stack.shape, stack.native)
    return place, place.spread(evidence)


def _locate(
    stack: Stack, sample: NDArray[np.intp], engine: Engine, total: int
) -> Generator[Progress, None, NDArray[np.float64]]:
    """Gather the evidence of heart over whole frames."""
    cells = (-(-stack.shape[0] // _CELL), -(-stack.shape[1] // _CELL))
    evidence = np.zeros(cells)
    for part in batches(len(sample), engine.batch_size(stack.shape[0] * stack.shape[1])):
        heart = 1 - engine.probabilities(stack.whole(sample[part]), AS_IT_IS)[:, :1]
        evidence += F.adaptive_avg_pool2d(heart, cells).sum(dim=(0, 1)).double().numpy()
        yield Progress(part.stop, total, "Looking for the heart")
    return evidence
