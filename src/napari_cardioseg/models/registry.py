"""One registry: from a network's name and arguments, as a model file states them, to the network."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from napari_cardioseg.domain import ModelError, misfit, unknown_names

# Name -> (module, class); imported when asked for, so that a reader of one model pays for one network.
_NETWORKS: dict[str, tuple[str, str]] = {
    "unet": ("napari_cardioseg.models.unet", "UNet"),
    "fcn32s": ("napari_cardioseg.models.fcn", "FCN32s"),
    "fcn16s": ("napari_cardioseg.models.fcn", "FCN16s"),
    "fcn8s": ("napari_cardioseg.models.fcn", "FCN8s"),
    "segnet": ("napari_cardioseg.models.segnet", "SegNet"),
    "dilated": ("napari_cardioseg.models.dilated", "Dilated"),
    "deeplabv2": ("napari_cardioseg.models.deeplabv2", "DeepLabV2"),
    "deeplabv3": ("napari_cardioseg.models.deeplabv3", "DeepLabV3"),
    "deeplabv3_cascade": ("napari_cardioseg.models.deeplabv3", "DeepLabV3Cascade"),
    "refinenet": ("napari_cardioseg.models.refinenet", "RefineNet"),
    "pspnet": ("napari_cardioseg.models.pspnet", "PSPNet"),
    "gcn": ("napari_cardioseg.models.gcn", "GCN"),
    "fcdensenet56": ("napari_cardioseg.models.fcdensenet", "fcdensenet56"),
    "fcdensenet67": ("napari_cardioseg.models.fcdensenet", "fcdensenet67"),
    "fcdensenet103": ("napari_cardioseg.models.fcdensenet", "fcdensenet103"),
    "ensemble": ("napari_cardioseg.models.ensemble", "Ensemble"),
}


class SegmentationNetwork(nn.Module):
    """What every network here promises: logits of the input's size, and two facts about its field.

    Input is (batch, channels, y, x) with y and x multiples of `stride`; output (batch, classes, y, x).
    """

    classes: int
    """Number of output channels, the background among them."""

    stride: int
    """Sides of the input must be multiples of this many pixels."""

    reach: int | None
    """No output pixel depends on input further away than this many pixels; None where any may."""

    def training_outputs(self, images: Tensor) -> tuple[tuple[float, Tensor], ...]:
        """Give every output that a loss is taken of with its weight, the network's own logits first.

        Networks with auxiliary heads or losses at several scales have more than one.
        """
        return ((1.0, self(images)),)

    def __call__(self, images: Tensor) -> Tensor:
        """Give logits (batch, classes, y, x) of `images` (batch, channels, y, x)."""
        result: Tensor = super().__call__(images)
        return result


def network_names() -> tuple[str, ...]:
    """Give the names that `build_network` knows."""
    return tuple(_NETWORKS)


def build_network(config: Mapping[str, Any]) -> SegmentationNetwork:
    """Make a network with fresh weights from its description.

    Parameters
    ----------
    config : mapping
        `name` in the registry, and the arguments of that network.

    Raises
    ------
    ModelError
        If the name is unknown or the arguments do not fit the network.
    """
    arguments = dict(config)
    name = arguments.pop("name", None)
    if name is None:
        raise ModelError(f"The network has no name; known are {', '.join(_NETWORKS)}.")
    if not isinstance(name, str) or name not in _NETWORKS:
        raise ModelError(f"There is no network called {name!r}; known are {', '.join(_NETWORKS)}.")
    module, cls = _NETWORKS[name]
    make: Callable[..., SegmentationNetwork] = getattr(importlib.import_module(module), cls)
    _check_arguments(name, arguments, inspect.signature(make, eval_str=True).parameters)
    try:
        return make(**arguments)
    except ValueError as error:
        raise ModelError(f"The network {name!r} cannot be built from {arguments}: {error}") from error


def _check_arguments(name: str, arguments: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> None:
    """Hold arguments to a network's signature.

    Raises
    ------
    ModelError
        If one is unknown, missing or of another kind.
    """
    unknown = unknown_names(list(arguments), list(known))
    if unknown:
        raise ModelError(f"The network {name!r} is given {unknown}")
    for key, parameter in known.items():
        if key not in arguments and parameter.default is inspect.Parameter.empty:
            raise ModelError(f"The network {name!r} needs its argument {key}.")
        wrong = misfit(arguments[key], parameter.annotation) if key in arguments else ""
        if wrong:
            raise ModelError(f"The network {name!r} cannot be built: {key} must be {wrong}.")
