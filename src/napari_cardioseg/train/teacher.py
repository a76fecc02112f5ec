"""Self-training: a model fills in the classes that nobody labelled on a frame.

Most frames may have the cavity contoured and the epicardium not. A network that learns the epicardium
from the few patients who have it soon knows those by heart; a teacher's guesses on all the others keep the
student honest, seen through strong augmentation (Xie et al., "Self-training with Noisy Student", CVPR 2020).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from napari_cardioseg.domain import Job, Progress
from napari_cardioseg.predict.infer import probabilities
from napari_cardioseg.predict.model import Model
from napari_cardioseg.predict.preprocess import normalise
from napari_cardioseg.predict.region import SIDE
from napari_cardioseg.train.data import IGNORED, TrainingFrames

_SURE = 0.7  # a guess between 1 - this and this is no lesson


def fill_in_labels(data: TrainingFrames, teacher: Model, device: torch.device) -> Job[TrainingFrames]:
    """Label the unknown classes of each frame as the teacher sees them, and leave out where it is unsure.

    What a reader labelled stays. Elsewhere the teacher is asked what a pixel is given that it belongs to
    no class that the reader labelled, so that its ring closes around the reader's cavity and not its own.

    Parameters
    ----------
    data : TrainingFrames
        With classes unknown on some frames; how often each is drawn stays as it is.
    teacher : Model
        Of the same classes.
    device : torch.device
        Where to compute.

    Returns
    -------
    TrainingFrames
        With every class known on every frame.
    """
    partial = (~data.known).any(dim=1).nonzero()[:, 0]
    labels = data.labels.clone()
    network = teacher.network.to(device)
    for done, i in enumerate(partial.tolist(), start=1):
        box = _around(data.centres[i], data.images.shape[1:])
        image = normalise(data.images[i][box][None].numpy(), teacher.card.preprocessing)
        p = probabilities(network, torch.from_numpy(image).to(device)).cpu()
        labels[i][box] = _filled(labels[i][box][None], p, data.known[i][None])[0]
        yield Progress(done, len(partial), "Filling in labels")
    return replace(data, labels=labels, known=torch.ones_like(data.known))


def _around(centre: Tensor, shape: torch.Size) -> tuple[slice, slice]:
    """Give the square of pixels about the heart, inside the frame; there is no heart elsewhere."""
    spans = []
    for place, length in zip(centre.tolist(), shape, strict=True):
        size = min(SIDE, length)
        start = min(max(round(place - size / 2), 0), length - size)
        spans.append(slice(start, start + size))
    return spans[0], spans[1]


def _filled(labels: Tensor, p: Tensor, known: Tensor) -> Tensor:
    """Complete (n, y, x) labels by (n, classes, y, x) probabilities."""
    possible = ~known
    possible[:, 0] = True
    q = p * possible[:, :, None, None]
    q = q / q.sum(dim=1, keepdim=True).clamp(min=1e-6)
    confidence, guess = q.max(dim=1)
    guess = torch.where(confidence >= _SURE, guess, IGNORED).to(labels.dtype)
    return torch.where(labels == 0, guess, labels)
