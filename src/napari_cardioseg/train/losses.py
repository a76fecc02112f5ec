"""Losses that know which classes were annotated on each frame.

A frame may have labels of some classes only (the cavity contoured, the myocardium not). What is not
cavity there may be myocardium, so the loss sums the probabilities of all classes that were not annotated
with that of the background, and asks only that this sum be right: the marginal loss of Fidon et al.,
"Label-set loss functions for partial supervision" (MICCAI 2021), equal to the ordinary loss where all
classes are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_cardioseg.domain import ConfigError

BALANCED = "balanced"


@dataclass(frozen=True)
class LossConfig:
    """The loss: a weighted sum of cross entropy, soft Dice and focal loss, over weighted pixels.

    Parameters
    ----------
    cross_entropy, dice, focal : float
        Weight of each loss in the sum; 0 leaves it out.
    gamma : float
        The focal loss's exponent.
    class_weights : tuple of float, or "balanced"
        Weight of the pixels of each class in cross entropy and focal loss, the background's first; none
        for equal weights. "balanced" is to weigh them by the inverse of their frequency in the training
        frames (`settled`).
    border : float
        Height w0 of U-Net's border weights in cross entropy and focal loss, 10 in the paper; 0 for none.
    border_sigma : float
        Their width in pixels.
    average : {"batch", "frame"}
        Average cross entropy and focal loss over all pixels of a batch, or frame by frame first.
    per_frame : bool
        Take the Dice loss frame by frame, rather than over the whole batch.
    """

    cross_entropy: float = 1.0
    dice: float = 1.0
    focal: float = 0.0
    gamma: float = 2.0
    class_weights: tuple[float, ...] | str = ()
    border: float = 0.0
    border_sigma: float = 5.0
    average: str = "batch"
    per_frame: bool = True

    def __post_init__(self) -> None:
        for name in ("cross_entropy", "dice", "focal", "gamma", "border"):
            if getattr(self, name) < 0:
                raise ConfigError(f"The loss setting {name} must be at least 0.")
        if not self.cross_entropy + self.dice + self.focal:
            raise ConfigError("The loss needs a weight of more than 0 for cross_entropy, dice or focal.")
        if self.border_sigma <= 0:
            raise ConfigError("The loss setting border_sigma must be more than 0.")
        if self.average not in ("batch", "frame"):
            raise ConfigError(f'The loss setting average is {self.average!r}; it can be "batch" or "frame".')
        weights = self.class_weights
        if weights == BALANCED:
            return
        if isinstance(weights, str) or any(w < 0 for w in weights) or (weights and not sum(weights)):
            raise ConfigError(
                'The loss setting class_weights is a list of numbers of at least 0, or "balanced".'
            )
        object.__setattr__(self, "class_weights", tuple(weights))

    def settled(self, labels: Tensor, known: Tensor) -> LossConfig:
        """Give the same loss with its class weights as numbers, checked against the number of classes.

        Balanced weights are 1 / (classes * frequency), so that the average pixel weighs 1. The frequency of
        a class is that among the frames on which it is known, the background's what the others leave.

        Parameters
        ----------
        labels : (n, y, x) integer tensor
            Channel of each pixel of the training frames; other values are ignored.
        known : (n, classes) bool tensor
            Which classes were annotated on each frame.

        Raises
        ------
        ConfigError
            If there are more or fewer weights than classes, or a class to balance does not occur.
        """
        raise NotImplementedError


def pixel_weights(target: Tensor, known: Tensor, how: LossConfig) -> Tensor | None:
    """Weigh the pixels of a batch of crops.

    Parameters
    ----------
    target : (batch, y, x) int64 tensor
        Channel of each pixel, negative where to be ignored; on the CPU.
    known : (batch, classes) bool tensor
        Which classes were annotated on each frame.
    how : LossConfig
        Settled.

    Returns
    -------
    (batch, y, x) float32 tensor, or None if all pixels weigh the same
    """
    raise NotImplementedError


def marginal_log_probabilities(logits: Tensor, known: Tensor) -> Tensor:
    """Merge the classes that were not annotated into the background.

    Parameters
    ----------
    logits : (batch, classes, y, x) float tensor
        Channel 0 is the background.
    known : (batch, classes) bool tensor
        Which classes were annotated on each frame; that of channel 0 is of no matter.

    Returns
    -------
    (batch, classes, y, x) float32 tensor
        Log-probabilities: channel 0 of background and unknown classes together, minus infinity's
        stand-in -1e4 at the unknown classes.
    """
    log_p = logits.float().log_softmax(dim=1)
    merged = known[:, :, None, None].logical_not()
    merged[:, 0] = True
    outside = torch.full_like(log_p, -1e4)
    background = torch.where(merged, log_p, outside).logsumexp(dim=1, keepdim=True)
    return torch.cat((background, torch.where(merged, outside, log_p)[:, 1:]), dim=1)


def marginal_cross_entropy(log_p: Tensor, target: Tensor) -> Tensor:
    """Average pixel-wise cross entropy of merged log-probabilities.

    Parameters
    ----------
    log_p : (batch, classes, y, x) tensor
        From `marginal_log_probabilities`.
    target : (batch, y, x) int64 tensor
        Channel of each pixel; unknown classes do not occur in it. Negative pixels are ignored.
    """
    return torch.nn.functional.nll_loss(log_p, target, ignore_index=-1)


def marginal_dice_loss(
    log_p: Tensor, target: Tensor, known: Tensor, *, per_frame: bool = True, smooth: float = 1.0
) -> Tensor:
    """One minus the soft Dice with squared denominators (Milletari et al., V-Net, 2016), averaged.

    Taken frame by frame, a small cavity near the apex weighs as much as a large one; taken over the whole
    batch, it hardly weighs at all. Either way a class counts only where it was annotated, and frame by frame
    only where it is.

    Parameters
    ----------
    log_p : (batch, classes, y, x) tensor
        From `marginal_log_probabilities`.
    target : (batch, y, x) int64 tensor
        Channel of each pixel, negative where to be ignored.
    known : (batch, classes) bool tensor
        Which classes were annotated on each frame.
    per_frame : bool
        Average over frames, or else sum over the batch first.
    smooth : float
        Added above and below, in pixels.
    """
    counted = (target >= 0)[:, None].float()
    p = log_p.exp() * counted
    truth = torch.zeros_like(p).scatter_(1, target.clamp(min=0)[:, None], 1.0) * counted
    overlap = (p * truth).sum(dim=(2, 3))[:, 1:]
    area = truth.sum(dim=(2, 3))[:, 1:]
    size = p.square().sum(dim=(2, 3))[:, 1:] + area
    there = known[:, 1:]
    if per_frame:
        there = there & (area > 0)
    else:
        overlap, size = ((there * value).sum(dim=0) for value in (overlap, size))
        there = there.any(dim=0)
    loss = 1 - (2 * overlap + smooth) / (size + smooth)
    return loss[there].mean() if there.any() else log_p.sum() * 0.0


def segmentation_loss(
    logits: Tensor,
    target: Tensor,
    known: Tensor,
    how: LossConfig | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    how = how or LossConfig()
    log_p = marginal_log_probabilities(logits, known)
    return marginal_cross_entropy(log_p, target) + marginal_dice_loss(
        log_p, target, known, per_frame=how.per_frame
    )
