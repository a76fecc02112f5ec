"""Losses that know which classes were annotated on each frame.

A frame may have labels of some classes only (the cavity contoured, the myocardium not). What is not
cavity there may be myocardium, so the loss sums the probabilities of all classes that were not annotated
with that of the background, and asks only that this sum be right: the marginal loss of Fidon et al.,
"Label-set loss functions for partial supervision" (MICCAI 2021), equal to the ordinary loss where all
classes are known.
"""

from __future__ import annotations

import torch
from torch import Tensor


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


def segmentation_loss(logits: Tensor, target: Tensor, known: Tensor, *, per_frame: bool = True) -> Tensor:
    """Sum of the marginal cross entropy and the marginal soft Dice loss (arguments as above)."""
    log_p = marginal_log_probabilities(logits, known)
    return marginal_cross_entropy(log_p, target) + marginal_dice_loss(
        log_p, target, known, per_frame=per_frame
    )
