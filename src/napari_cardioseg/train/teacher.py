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
from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.predict.infer import batches, probabilities
from napari_cardioseg.train.data import IGNORED, TrainingFrames

_SURE = 0.7  # a guess between 1 - this and this is no lesson
_BATCH = 8


def fill_in_labels(
    data: TrainingFrames, teacher: SegmentationNetwork, device: torch.device
) -> Job[TrainingFrames]:
    """Label the unknown classes of each frame as the teacher sees them, and leave out where it is unsure.

    What a reader labelled stays. Elsewhere the teacher is asked what a pixel is given that it belongs to
    no class that the reader labelled, so that its ring closes around the reader's cavity and not its own.

    Parameters
    ----------
    data : TrainingFrames
        With classes unknown on some frames; how often each is drawn stays as it is.
    teacher : SegmentationNetwork
        In evaluation mode, of the same classes.
    device : torch.device
        Where to compute.

    Returns
    -------
    TrainingFrames
        With every class known on every frame.
    """
    partial = (~data.known).any(dim=1).nonzero()[:, 0]
    labels = data.labels.clone()
    teacher = teacher.to(device)
    for part in batches(len(partial), _BATCH):
        index = partial[part]
        p = probabilities(teacher, data.images[index].to(device)).cpu()
        labels[index] = _filled(labels[index], p, data.known[index])
        yield Progress(part.stop, len(partial), "Filling in labels")
    return replace(data, labels=labels, known=torch.ones_like(data.known))


def _filled(labels: Tensor, p: Tensor, known: Tensor) -> Tensor:
    """Complete (n, y, x) labels by (n, classes, y, x) probabilities."""
    possible = ~known
    possible[:, 0] = True
    q = p * possible[:, :, None, None]
    q = q / q.sum(dim=1, keepdim=True).clamp(min=1e-6)
    confidence, guess = q.max(dim=1)
    guess = torch.where(confidence >= _SURE, guess, IGNORED).to(labels.dtype)
    return torch.where(labels == 0, guess, labels)
