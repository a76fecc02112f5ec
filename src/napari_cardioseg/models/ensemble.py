"""Several networks that vote as one, so that the folds of a cross-validation make one model file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_cardioseg.models.registry import SegmentationNetwork, build_network


class Ensemble(SegmentationNetwork):
    """The mean of its members' class probabilities, given as their logarithm.

    A softmax of these logits is again the mean, so that whatever takes logits takes an ensemble. Member i
    keeps its weights under `members.i.`.

    Parameters
    ----------
    members : sequence of mapping
        Name and arguments of each network, as `build_network` takes them.
    channels, classes : int, optional
        Arguments of the members that do not state their own.

    Raises
    ------
    ValueError
        If there is no member, or they differ in their classes among themselves or from `classes`.
    ModelError
        If a member cannot be built.
    """

    def __init__(
        self,
        members: Sequence[Mapping[str, Any]],
        channels: int | None = None,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        common = {k: v for k, v in (("channels", channels), ("classes", classes)) if v is not None}
        networks = [build_network({**common, **member}) for member in members]
        found = {network.classes for network in networks} | ({classes} if classes is not None else set())
        if len(found) != 1:
            raise ValueError(
                f"An ensemble needs members that agree in their classes; here are {sorted(found) or 'none'}."
            )
        (self.classes,) = found
        self.stride = math.lcm(*(network.stride for network in networks))
        reaches = [network.reach for network in networks]
        known = [reach for reach in reaches if reach is not None]
        self.reach = max(known) if len(known) == len(reaches) else None
        self.members = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Give log-probabilities (batch, classes, y, x) float32 of `images` (batch, channels, y, x)."""
        total: Tensor | None = None
        for member in self.members:
            log_p = member(images).float().log_softmax(dim=1)
            total = log_p if total is None else torch.logaddexp(total, log_p)
        assert total is not None  # an ensemble has at least one member
        return total - math.log(len(self.members))


def merge_weights(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the weights of single networks, each by its parameters' names, together as the ensemble's."""
    return {
        f"members.{i}.{name}": value for i, weights in enumerate(members) for name, value in weights.items()
    }
