"""From probabilities to labels: the ones of which the highest Dice is to be expected."""

from __future__ import annotations

import torch
from torch import Tensor

_MAY_BE = 0.05  # probability from which a pixel counts as possibly heart
_SMALL_AREA = 20.0  # pixels: doubt about less than this is no doubt about the frame
_LEAST_THRESHOLD = 1 / 3  # below, the doubt is whether there is a heart at all, not where it ends
_ROUNDS = 4  # the thresholds settle in three


def choose_labels(p: Tensor) -> Tensor:
    """Choose each frame's labels so that their expected Dice is as high as it can be.

    The most probable class is the best guess of a pixel, but not of a mask: where the border is in doubt,
    the Dice to be expected is highest if a pixel is taken from a probability of half that Dice on, so
    from less than 0.5 (Lipton, Elkan & Narayanaswamy, "Optimal thresholding of classifiers to maximize F1
    measure", ECML 2014, theorem 1; exact where pixels are in doubt independently of each other). The
    threshold of each class is found frame by frame, by Dinkelbach's iteration (1967); where classes meet, the
    one further above its threshold wins.

    Parameters
    ----------
    p : (n, classes, y, x) float tensor
        Class probabilities; channel 0 is background.

    Returns
    -------
    (n, y, x) int64 tensor
        Channels.
    """
    return (p * odds(p)).max(dim=1).indices  # argmax is many times as slow on a CPU


def odds(p: Tensor) -> Tensor:
    """Give the factors on probabilities with which `choose_labels` weighs the classes.

    Parameters
    ----------
    p : (n, classes, y, x) float tensor
        Class probabilities; channel 0 is background.

    Returns
    -------
    (n, classes, 1, 1) tensor
        1 for the background, and 1 to 2 for the others: what a probability at the class's threshold lacks
        to an even chance.
    """
    heart = _possible(p).flatten(2)
    heart = heart[:, :, heart.amax(dim=(0, 1)) > 0]  # most of the region is no heart on any frame
    threshold = p.new_full(heart.shape[:2], 0.5)
    for _ in range(_ROUNDS):
        inside = heart > threshold[:, :, None]
        threshold = (_expected_dice(heart, inside) / 2).clamp(_LEAST_THRESHOLD, 0.5)
    factors = torch.cat((torch.ones_like(threshold[:, :1]), (1 - threshold) / threshold), dim=1)
    return factors[:, :, None, None]


def expected_error(p: Tensor, chosen: Tensor) -> Tensor:
    """Estimate how wrong each frame's labels are, by the network's own probabilities.

    One minus the expected Dice of all foreground: were the probabilities right, the Dice to the truth
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
    return 1 - _expected_dice(_possible(p).flatten(1), chosen[:, 1:].flatten(1))


def _possible(p: Tensor) -> Tensor:
    """Give the foreground's probabilities; a little everywhere adds up over a frame and means nothing."""
    return torch.where(p[:, 1:] >= _MAY_BE, p[:, 1:], 0.0)


def _expected_dice(p: Tensor, chosen: Tensor) -> Tensor:
    """Estimate the Dice of masks (..., pixels) to truths whose probabilities (..., pixels) are given."""
    overlap = (p * chosen).sum(dim=-1)
    size = p.sum(dim=-1) + chosen.sum(dim=-1)
    return (2 * overlap + _SMALL_AREA) / (size + _SMALL_AREA)
