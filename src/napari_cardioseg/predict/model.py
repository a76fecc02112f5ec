"""A model ready to compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cardioseg.domain import ModelCard, ModelError
from napari_cardioseg.models import SegmentationNetwork, build_network


@dataclass(frozen=True)
class Model:
    """A network with its weights, in evaluation mode on the CPU, and the card that describes it."""

    network: SegmentationNetwork
    card: ModelCard

    @classmethod
    def build(cls, card: ModelCard, weights: Mapping[str, NDArray[np.generic]]) -> Model:
        """Build the network that the card describes and give it its weights.

        Parameters
        ----------
        card : ModelCard
            Names the network and its arguments.
        weights : mapping of arrays
            By the network's parameter names, in any floating precision.

        Raises
        ------
        ModelError
            If the weights do not fit the network, or hold values that are not finite.
        """
        network = build_network(card.network)
        if network.classes != len(card.scheme) + 1:
            raise ModelError(
                f"The model {card.name!r} names {len(card.scheme)} classes, but its network has "
                f"{network.classes - 1}; its file is damaged or was put together wrongly."
            )
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise ModelError(f"The model {card.name!r} is damaged: its weights {name} are not finite.")
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:  # torch's way to say that names or shapes differ
            raise ModelError(
                f"The weights of the model {card.name!r} do not fit its network {card.network}: {error}"
            ) from error
        network.requires_grad_(False)
        return cls(network.eval(), card)
