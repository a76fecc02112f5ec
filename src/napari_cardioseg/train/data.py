"""Labelled frames, normalised and held in memory on the network's grid, and how often each is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from napari_cardioseg.domain import ConfigError, Job, LabelledFrame, LabelScheme, Preprocessing, Progress
from napari_cardioseg.predict.bias_field import correct_bias
from napari_cardioseg.predict.intensity import Scale, learn_landmarks, measure
from napari_cardioseg.predict.preprocess import assumed_pixel_size, network_shape, resample
from napari_cardioseg.predict.region import sides_in_pixels

IGNORED = 255
"""Label of pixels that teach nothing."""


@dataclass(frozen=True)
class TrainingFrames:
    """Frames ready for the loop.

    Parameters
    ----------
    images : (n, y, x) float32 tensor
        Normalised, on the network's grid; frames smaller than the largest are extended at their lower and
        right borders.
    labels : (n, y, x) uint8 tensor
        Output channel of each pixel, or `IGNORED`.
    known : (n, classes) bool tensor
        Which channels the labels tell of.
    complete : (n,) bool tensor
        Whether a reader labelled every class.
    centres : (n, 2) float32 tensor
        Centre (y, x) of the labels in pixels; where a frame has none, of its patient's, or of the frame.
    pixel_size : (n, 2) float32 tensor
        Of the grid, (dy, dx) in mm.
    draw : (n,) float64 tensor
        Probability of each frame to be drawn.
    preprocessing : Preprocessing
        How the frames were prepared, with the landmarks that were learnt.
    near : (n, 2, k) float32 tensor, optional
        Levels and values of the curve that brings a crop near the heart to the scale of intensities of that
        region, as prediction does, where the scope is wider than the slice.
    ring : (int, int), optional
        Channels of the left ventricle's cavity and wall, where both are learnt.
    """

    images: Tensor
    labels: Tensor
    known: Tensor
    complete: Tensor
    centres: Tensor
    pixel_size: Tensor
    draw: Tensor
    preprocessing: Preprocessing
    near: Tensor | None = None
    ring: tuple[int, int] | None = None

    def sample(self, n: int, rng: Generator) -> Tensor:
        """Draw the indices of `n` frames."""
        return torch.multinomial(self.draw, n, replacement=True, generator=rng)


def prepare_frames(
    frames: Sequence[LabelledFrame],
    scheme: LabelScheme,
    preprocessing: Preprocessing,
    *,
    fully_labelled_share: float,
) -> Job[TrainingFrames]:
    """Bring frames to the network's intensities and grid, and give each its chance to be drawn.

    Frames do not tell their phase, so that a patient's are one volume. The landmarks of a standard histogram
    are learnt from these frames unless they are given.

    Every patient is drawn as often as any other, however many frames they have; and of all draws,
    `fully_labelled_share` fall on frames on which every class is known, where there are any, since only
    those teach the classes that are rarely labelled.

    Raises
    ------
    ConfigError
        If there are no frames, or SimpleITK is wanted and not there.
    """
    if not frames:
        raise ConfigError("There are no labelled frames to train on.")
    images = yield from _evened(frames, preprocessing)
    groups = _groups(frames, preprocessing.scope)
    scans = [[images[i] for i in group] for group in groups]
    if preprocessing.method == "nyul" and not preprocessing.landmarks:
        learnt = learn_landmarks(scans, preprocessing)
        preprocessing = replace(preprocessing, landmarks=tuple(learnt.tolist()))
    scales: dict[int, Scale] = {}
    for group, scan in zip(groups, scans, strict=True):
        scales.update(dict.fromkeys(group, measure(scan, preprocessing)))
    prepared = [
        _on_grid(frame, scales[i].apply(images[i]), scheme, preprocessing) for i, frame in enumerate(frames)
    ]
    data = _stacked(prepared, [frame.patient for frame in frames], preprocessing, fully_labelled_share)
    data = replace(data, ring=_ring(scheme))
    if preprocessing.scope == "slice" or not preprocessing.locate:
        return data
    return replace(data, near=_near_curves(data, groups))


def _ring(scheme: LabelScheme) -> tuple[int, int] | None:
    """Find the channels of the left ventricle's cavity and wall."""
    channels = {c.key: channel for channel, c in enumerate(scheme, start=1)}
    return (channels["lv"], channels["myo"]) if {"lv", "myo"} <= channels.keys() else None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """One frame on the network's grid."""

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    known: NDArray[np.bool_]
    complete: bool
    centre: NDArray[np.float64] | None
    pixel_size: tuple[float, float]


def _evened(frames: Sequence[LabelledFrame], preprocessing: Preprocessing) -> Job[list[NDArray[np.generic]]]:
    """Give the frames' images, with the coil's sensitivity evened out where that is asked for."""
    images: list[NDArray[np.generic]] = [frame.image for frame in frames]
    if preprocessing.bias_correction == "n4":
        for i, image in enumerate(images):
            images[i] = correct_bias(image)
            yield Progress(i + 1, len(images), "Evening out the brightness")
    return images


def _groups(frames: Sequence[LabelledFrame], scope: str) -> list[list[int]]:
    """Give the indices of frames that are measured together."""
    if scope == "slice":
        return [[i] for i in range(len(frames))]
    of: dict[str, list[int]] = {}
    for i, frame in enumerate(frames):
        of.setdefault(frame.patient, []).append(i)
    return list(of.values())


def _on_grid(
    frame: LabelledFrame, image: NDArray[np.float32], scheme: LabelScheme, preprocessing: Preprocessing
) -> _Prepared:
    native = (frame.image.shape[0], frame.image.shape[1])
    shape = network_shape(native, frame.pixel_size, preprocessing)
    factors = np.array(shape) / native
    dy, dx = frame.pixel_size or assumed_pixel_size(native)
    channels, known = _channels(frame, scheme)
    heart = np.isin(frame.labels, scheme.values)
    places = np.argwhere(heart if heart.any() else frame.labels > 0)
    return _Prepared(
        resample(torch.from_numpy(image)[None], shape)[0].numpy(),
        _resampled_labels(channels, shape),
        known,
        frame.known >= set(scheme.values),
        (places.mean(axis=0) + 0.5) * factors - 0.5 if len(places) else None,
        (dy / float(factors[0]), dx / float(factors[1])),
    )


def _channels(frame: LabelledFrame, scheme: LabelScheme) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Give each pixel's output channel, and which channels that tells of.

    Where none of the classes was labelled, but others were (the cavity, and only the myocardium is to be
    learnt), what belongs to another class is background for certain; of all else nothing is known.
    """
    channels = np.zeros(frame.labels.shape, dtype=np.uint8)
    for channel, c in enumerate(scheme, start=1):
        channels[frame.labels == c.value] = channel
    known = np.array([True, *(c.value in frame.known for c in scheme)])
    others = (frame.labels > 0) & (channels == 0)
    if not known[1:].any() and others.any():
        channels[~others] = IGNORED
        known[:] = True
    return channels, known


def _resampled_labels(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Give each pixel of another grid the label that has the largest share in it."""
    if labels.shape == shape:
        return labels
    codes = np.unique(labels)
    shares = torch.from_numpy((labels == codes[:, None, None]).astype(np.float32))
    found: NDArray[np.uint8] = codes[resample(shares[None], shape)[0].argmax(dim=0).numpy()]
    return found


def _stacked(
    prepared: Sequence[_Prepared], patients: Sequence[str], preprocessing: Preprocessing, share: float
) -> TrainingFrames:
    """Put frames of any sizes into one."""
    shape = tuple(max(p.image.shape[axis] for p in prepared) for axis in (0, 1))
    images = np.empty((len(prepared), *shape), dtype=np.float32)
    labels = np.zeros(images.shape, dtype=np.uint8)
    for i, p in enumerate(prepared):
        h, w = p.image.shape
        images[i] = np.pad(p.image, ((0, shape[0] - h), (0, shape[1] - w)), "edge")
        labels[i, :h, :w] = p.labels
    complete = np.array([p.complete for p in prepared])
    return TrainingFrames(
        torch.from_numpy(images),
        torch.from_numpy(labels),
        torch.from_numpy(np.stack([p.known for p in prepared])),
        torch.from_numpy(complete),
        torch.from_numpy(_centres(prepared, patients)),
        torch.tensor([p.pixel_size for p in prepared]),
        _draw_probabilities(patients, complete, share),
        preprocessing,
    )


def _centres(prepared: Sequence[_Prepared], patients: Sequence[str]) -> NDArray[np.float32]:
    """Give the hearts' centres (n, 2); a patient's heart is at one place on all frames of one size."""
    found: dict[tuple[str, tuple[int, ...]], list[NDArray[np.float64]]] = {}
    for p, patient in zip(prepared, patients, strict=True):
        if p.centre is not None:
            found.setdefault((patient, p.image.shape), []).append(p.centre)
    centres = np.empty((len(prepared), 2), dtype=np.float32)
    for i, (p, patient) in enumerate(zip(prepared, patients, strict=True)):
        if p.centre is not None:
            centres[i] = p.centre
        elif (patient, p.image.shape) in found:
            centres[i] = np.mean(found[patient, p.image.shape], axis=0)
        else:
            centres[i] = (np.array(p.image.shape) - 1) / 2
    return centres


def box_around(centre: Tensor, sides: tuple[int, int], shape: Sequence[int]) -> tuple[slice, slice]:
    """Give the rectangle of pixels about a place (y, x), inside the frame."""
    spans = []
    for place, side, length in zip(centre.tolist(), sides, shape, strict=True):
        size = min(side, length)
        start = min(max(round(place - size / 2), 0), length - size)
        spans.append(slice(start, start + size))
    return spans[0], spans[1]


def _near_curves(data: TrainingFrames, groups: Sequence[Sequence[int]]) -> Tensor:
    """Measure each group's intensities around the heart; curves (n, 2, k)."""
    curves: dict[int, NDArray[np.float64]] = {}
    for group in groups:
        parts = []
        for i in group:
            dy, dx = data.pixel_size[i].tolist()
            box = box_around(data.centres[i], sides_in_pixels((dy, dx), 1), data.images[i].shape)
            parts.append(data.images[i][box].numpy())
        curves.update(dict.fromkeys(group, np.stack(measure(parts, data.preprocessing).curve())))
    longest = max(curve.shape[1] for curve in curves.values())
    padded = [np.pad(c, ((0, 0), (0, longest - c.shape[1])), "edge") for _, c in sorted(curves.items())]
    return torch.from_numpy(np.stack(padded).astype(np.float32))


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
