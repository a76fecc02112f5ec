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
from napari_cardioseg.predict.decide import odds
from napari_cardioseg.predict.infer import TEST_TIME_VIEWS, probabilities
from napari_cardioseg.predict.intensity import normalise_each
from napari_cardioseg.predict.model import Model
from napari_cardioseg.predict.preprocess import network_pixel_size, resample, resampling_factor
from napari_cardioseg.predict.region import sides_in_pixels
from napari_cardioseg.train.data import IGNORED, TrainingFrames, box_around

_SURE = 0.65  # a guess between 1 - this and this is no lesson


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
    partial = (~data.complete).nonzero()[:, 0]
    labels = data.labels.clone()
    network = teacher.network.to(device)
    for done, i in enumerate(partial.tolist(), start=1):
        box, shape = _view(data, i, teacher)
        image = data.images[i][box]
        seen = normalise_each(resample(image[None], shape), teacher.card.preprocessing)
        p = resample(probabilities(network, seen.to(device), TEST_TIME_VIEWS).cpu(), _size(image))
        labels[i][box] = _filled(labels[i][box][None], p, data.known[i][None])[0]
        yield Progress(done, len(partial), "Filling in labels")
    return replace(data, labels=labels, known=torch.ones_like(data.known))


def _view(data: TrainingFrames, i: int, teacher: Model) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """Give the pixels that the teacher is shown, and their size (y, x) on the teacher's grid.

    They are as many millimetres about the heart as in prediction, or all if the teacher is used to that.
    """
    shape, preprocessing = _size(data.images[i]), teacher.card.preprocessing
    dy, dx = data.pixel_size[i].tolist()
    fy, fx = resampling_factor(shape, (dy, dx), preprocessing)
    sides = shape
    if preprocessing.locate:
        rows, columns = sides_in_pixels(
            network_pixel_size(shape, (dy, dx), preprocessing), teacher.network.stride
        )
        sides = round(rows / fy), round(columns / fx)
    box = box_around(data.centres[i], sides, shape)
    height, width = (span.stop - span.start for span in box)
    return box, (max(round(height * fy), 1), max(round(width * fx), 1))


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _filled(labels: Tensor, p: Tensor, known: Tensor) -> Tensor:
    """Complete (n, y, x) labels by (n, classes, y, x) probabilities."""
    nothing = known.all(dim=1)  # the reader labelled none of the classes but others: see data._channels
    possible = ~known | nothing[:, None]
    possible[:, 0] = True
    q = p * possible[:, :, None, None]
    q = q / q.sum(dim=1, keepdim=True).clamp(min=1e-6)
    q = q * odds(q)  # of a wall in doubt rather too much than too little, as in prediction
    q = q / q.sum(dim=1, keepdim=True).clamp(min=1e-6)
    confidence, guess = q.max(dim=1)
    guess = torch.where(confidence >= _SURE, guess, IGNORED).to(labels.dtype)
    unlabelled = torch.where(nothing, IGNORED, 0).to(labels.dtype)
    return torch.where(labels == unlabelled[:, None, None], guess, labels)
