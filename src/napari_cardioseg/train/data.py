"""Labelled frames, normalised and held in memory, and the order in which they are drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from napari_cardioseg.domain import ConfigError, LabelledFrame, LabelScheme, Preprocessing
from napari_cardioseg.predict.preprocess import normalise

IGNORED = 255
"""Label of pixels that teach nothing."""


@dataclass(frozen=True)
class TrainingFrames:
    """Frames ready for the loop.

    Parameters
    ----------
    images : (n, y, x) float32 tensor
        Normalised; frames smaller than the largest are extended at their lower and right borders.
    labels : (n, y, x) uint8 tensor
        Output channel of each pixel, or `IGNORED`.
    known : (n, classes) bool tensor
        Which channels were annotated.
    centres : (n, 2) float32 tensor
        Centre (y, x) of the labels in pixels; of the frame where it has none.
    draw : (n,) float64 tensor
        Probability of each frame to be drawn.
    """

    images: Tensor
    labels: Tensor
    known: Tensor
    centres: Tensor
    draw: Tensor

    def sample(self, n: int, rng: Generator) -> Tensor:
        """Draw the indices of `n` frames."""
        return torch.multinomial(self.draw, n, replacement=True, generator=rng)


def prepare_frames(
    frames: Sequence[LabelledFrame],
    scheme: LabelScheme,
    preprocessing: Preprocessing,
    *,
    fully_labelled_share: float,
) -> TrainingFrames:
    """Normalise frames and give each its chance to be drawn.

    Every patient is drawn as often as any other, however many frames they have; and of all draws,
    `fully_labelled_share` fall on frames on which every class is known, where there are any, since only
    those teach the classes that are rarely labelled.

    Raises
    ------
    ConfigError
        If there are no frames.
    """
    if not frames:
        raise ConfigError("There are no labelled frames to train on.")
    height = max(frame.image.shape[0] for frame in frames)
    width = max(frame.image.shape[1] for frame in frames)
    images = np.empty((len(frames), height, width), dtype=np.float32)
    labels = np.zeros(images.shape, dtype=np.uint8)
    known = np.ones((len(frames), len(scheme) + 1), dtype=bool)
    centres = np.empty((len(frames), 2), dtype=np.float32)
    for i, frame in enumerate(frames):
        h, w = frame.image.shape
        images[i] = np.pad(
            normalise(frame.image[None], preprocessing)[0], ((0, height - h), (0, width - w)), "edge"
        )
        for channel, c in enumerate(scheme, start=1):
            labels[i, :h, :w][frame.labels == c.value] = channel
            known[i, channel] = c.value in frame.known
        places = np.argwhere(labels[i] > 0)
        centres[i] = places.mean(axis=0) if len(places) else ((h - 1) / 2, (w - 1) / 2)
    return TrainingFrames(
        torch.from_numpy(images),
        torch.from_numpy(labels),
        torch.from_numpy(known),
        torch.from_numpy(centres),
        _draw_probabilities([f.patient for f in frames], np.asarray(known.all(axis=1)), fully_labelled_share),
    )


def _draw_probabilities(patients: Sequence[str], full: NDArray[np.bool_], share: float) -> Tensor:
    if full.all() or not full.any():
        groups = [(np.ones(len(full), dtype=bool), 1.0)]
    else:
        groups = [(full, share), (~full, 1 - share)]
    draw = np.zeros(len(full))
    names = np.asarray(patients)
    for members, weight in groups:
        everyone, counts = np.unique(names[members], return_counts=True)
        frames_of = dict(zip(everyone, counts, strict=True))
        draw[members] = [weight / len(everyone) / frames_of[p] for p in names[members]]
    return torch.from_numpy(draw)


def fingerprint(frames: Sequence[LabelledFrame]) -> str:
    """Give a SHA-256 of frames and labels, by which a model's card states what it was trained on."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.patient}/{frame.instance}/{sorted(frame.known)}/{frame.image.shape}".encode())
        digest.update(np.ascontiguousarray(frame.image).tobytes())
        digest.update(np.ascontiguousarray(frame.labels).tobytes())
    return digest.hexdigest()
