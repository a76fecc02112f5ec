"""Losses that know which classes were annotated on each frame.

A frame may have labels of some classes only (the cavity contoured, the myocardium not). What is not
cavity there may be myocardium, so the loss sums the probabilities of all classes that were not annotated
with that of the background, and asks only that this sum be right: the marginal loss of Fidon et al.,
"Label-set loss functions for partial supervision" (MICCAI 2021), equal to the ordinary loss where all
classes are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

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
        classes = known.shape[1]
        if self.class_weights != BALANCED:
            if self.class_weights and len(self.class_weights) != classes:
                raise ConfigError(
                    f"The loss has {len(self.class_weights)} class weights, but there are {classes} classes, "
                    "the background among them."
                )
            return self
        shares = torch.zeros(classes, dtype=torch.float64)
        for channel in range(1, classes):
            shown = labels[known[:, channel]]
            counted = (shown >= 0) & (shown < classes)
            shares[channel] = (shown == channel).sum().double() / counted.sum().clamp(min=1)
        shares[0] = 1 - shares.sum()
        if (shares <= 0).any():
            raise ConfigError(
                "Balanced class weights need pixels of every class, but the training frames have none of "
                f"channel {int((shares <= 0).int().argmax())}; give class_weights as numbers."
            )
        return replace(self, class_weights=tuple((1 / (classes * shares)).tolist()))


def pixel_weights(target: Tensor, how: LossConfig) -> Tensor | None:
    """Weigh the pixels of a batch of crops for cross entropy and focal loss.

    This is U-Net's weight map w = w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2)) (Ronneberger et al., 2015,
    equation 2). A class that was not annotated on a frame is background in `target`, and weighs as much.

    Parameters
    ----------
    target : (batch, y, x) int64 tensor
        Channel of each pixel, negative where to be ignored; on the CPU.
    how : LossConfig
        As it comes from `LossConfig.settled`.

    Returns
    -------
    (batch, y, x) float32 tensor, or None if all pixels weigh the same
    """
    if isinstance(how.class_weights, str):
        raise ValueError("The class weights are not settled yet.")
    if not how.class_weights and not how.border:
        return None
    weights = torch.ones(target.shape)
    if how.class_weights:
        weights = torch.tensor(how.class_weights, dtype=torch.float32)[target.clamp(min=0)]
    if how.border:
        near = [border_nearness(labels, how.border_sigma) for labels in target.numpy()]
        weights = weights + how.border * torch.from_numpy(np.stack(near))
    return weights * (target >= 0)


def border_nearness(labels: NDArray[np.integer[Any]], sigma: float) -> NDArray[np.float32]:
    """Give exp(-(d1 + d2)^2 / (2 sigma^2)) with the distances to the two nearest objects' borders.

    An object is a connected part of one class, and its border lies on both sides of its outline: the
    distance of a pixel outside is that to the object, of a pixel inside that to the outside. Ventricles
    seldom touch others of their class as cells do; what keeps two objects apart here is the wall. Cavity
    and myocardium share the endocardium, on which the map is highest, and across a thin wall it stays
    high to the epicardium. An object alone on its frame, such as a cavity whose wall was not annotated,
    has no second border; what surrounds it takes the place of the second object, and d2 = d1. The
    endocardium hence weighs the same whether or not the wall was annotated.

    Parameters
    ----------
    labels : (y, x) integer array
        Channel of each pixel: 0 background, negative ignored.
    sigma : float
        In pixels.

    Returns
    -------
    (y, x) float32 array
        Between 0 and 1; 0 where there is no object.
    """
    counted = labels >= 0
    distances = []
    for channel in range(1, int(labels.max(initial=0)) + 1):
        parts, n = ndimage.label(labels == channel, structure=np.ones((3, 3)))
        for part in range(1, n + 1):
            inside = parts == part
            outside = counted & ~inside
            if outside.any():  # else its border is not in view
                distances.append(
                    ndimage.distance_transform_edt(~inside) + ndimage.distance_transform_edt(~outside)
                )
    if not distances:
        return np.zeros(labels.shape, dtype=np.float32)
    nearest = np.sort(np.stack(distances), axis=0)[:2]
    d1, d2 = nearest[0], nearest[-1]
    return np.asarray(np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)), dtype=np.float32)


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


def marginal_cross_entropy(
    log_p: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    gamma: float = 0.0,
    average: str = "batch",
) -> Tensor:
    """Average pixel-wise cross entropy of merged log-probabilities, focal for a `gamma` of more than 0.

    The average is the weighted sum over the sum of the weights, as torch does with class weights, so that
    their scale does not change the rate of learning. The focal loss (Lin et al., "Focal loss for dense
    object detection", 2017, equation 5) is cross entropy times (1 - p)^gamma, p the probability of the
    true class; its alpha are the weights.

    Parameters
    ----------
    log_p : (batch, classes, y, x) tensor
        From `marginal_log_probabilities`.
    target : (batch, y, x) int64 tensor
        Channel of each pixel; unknown classes do not occur in it. Negative pixels are ignored.
    weights : (batch, y, x) tensor, optional
        From `pixel_weights`.
    gamma : float
        How much less the pixels count that are right already.
    average : {"batch", "frame"}
        Over all pixels of the batch, or over those of each frame and then over the frames that have any.
    """
    true = log_p.gather(1, target.clamp(min=0)[:, None])[:, 0]
    loss = -true
    if gamma:  # the floor keeps the slope of the power finite where p is 1
        loss = loss * (-torch.expm1(true)).clamp(min=1e-6) ** gamma
    counted = (target >= 0).to(loss.dtype)
    weight = counted if weights is None else counted * weights
    sums, weight_sums = (weight * loss).sum(dim=(1, 2)), weight.sum(dim=(1, 2))
    if average == "batch":
        return sums.sum() / weight_sums.sum().clamp(min=1e-12)
    return (sums / weight_sums.clamp(min=1e-12)).sum() / (weight_sums > 0).sum().clamp(min=1)


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
    logits: Tensor, target: Tensor, known: Tensor, how: LossConfig, weights: Tensor | None = None
) -> Tensor:
    """Sum up the losses that `how` asks for.

    Parameters
    ----------
    logits : (batch, classes, y, x) float tensor
    target : (batch, y, x) int64 tensor
        Channel of each pixel, negative where to be ignored; unknown classes do not occur in it.
    known : (batch, classes) bool tensor
        Which classes were annotated on each frame.
    how : LossConfig
    weights : (batch, y, x) float tensor, optional
        From `pixel_weights`.
    """
    log_p = marginal_log_probabilities(logits, known)
    parts = []
    for share, gamma in ((how.cross_entropy, 0.0), (how.focal, how.gamma)):
        if share:
            pixels = marginal_cross_entropy(log_p, target, weights, gamma=gamma, average=how.average)
            parts.append(share * pixels)
    if how.dice:
        parts.append(how.dice * marginal_dice_loss(log_p, target, known, per_frame=how.per_frame))
    return torch.stack(parts).sum()
