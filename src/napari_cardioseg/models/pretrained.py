"""Start a network from a checkpoint that the user has downloaded: torchvision's, or another of ours."""

from __future__ import annotations

import math
import pickle
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models.registry import SegmentationNetwork, build_network

_BACKBONE = "backbone."
# torchvision's VGG16 calls its first two fully connected layers so; here they are convolutions.
_FULLY_CONNECTED = {"classifier.0": "head.fc6", "classifier.3": "head.fc7"}
# Under which training scripts keep the weights beside other things.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_ZIP, _PICKLE = b"PK", b"\x80"
# What reading a damaged file ends in depends on where the damage is.
_DAMAGED = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
_NOT_IN_FILE = "not in the file"


@dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint: names of tensors, the network's own save in `unused`.

    Parameters
    ----------
    loaded : tuple of str
        Taken from the file, the folded ones among them.
    folded : tuple of str
        Of those, the first layer's, summed over its input channels to fit the image's.
    fresh : mapping
        Left as they were, by name, with the reason.
    unused : tuple of str
        The file's own names of what has no place in the network.
    """

    loaded: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    fresh: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def stage_of(name: str) -> str:
    """Give the part of a network that a tensor belongs to, as "backbone.layer1" or "score"."""
    return ".".join(name.split(".")[:-1][:2]) or name


def start_network(config: Mapping[str, Any], checkpoint: Path) -> tuple[SegmentationNetwork, LoadReport]:
    """Build a network and give it what fits it of a checkpoint; the rest is fresh, the same each time.

    Parameters
    ----------
    config : mapping
        For `build_network`.
    checkpoint : Path
        For `read_checkpoint`.

    Raises
    ------
    ModelError
        If the network cannot be built, the file cannot be read, or nothing in it fits.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_network(config)
    return network, load_checkpoint(network, read_checkpoint(checkpoint))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read weights by name from a `.safetensors` file or a PyTorch state dict, without running its code.

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged, holds more than weights or values that are not finite.
    """
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path} holds no weights by name; save network.state_dict() of it instead.")
    weights = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(f"{path} holds {name!r} beside weights; save network.state_dict() alone.")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ModelError(f"{path} is damaged: its weights {name} are not finite; get the file anew.")
        weights[name.removeprefix("module.")] = value.detach()  # as networks trained on several GPUs say
    return weights


def load_checkpoint(network: SegmentationNetwork, weights: Mapping[str, Tensor]) -> LoadReport:
    """Give a network what fits it of a checkpoint.

    A tensor goes where the network has its name, or that name in the `backbone`; VGG16's fully connected
    layers become the convolutions that compute the same. The first layer is summed over its input channels
    and shared out evenly among the image's, so that a grey image, repeated in all channels, gets the answer
    that it got in colour. Heads for other classes stay fresh.

    Parameters
    ----------
    network : SegmentationNetwork
        Changed in place, unless an error is raised.
    weights : mapping
        Of `read_checkpoint`.

    Raises
    ------
    ModelError
        If nothing fits, or the checkpoint is of another backbone.
    """
    own = network.state_dict()
    first = next((f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.Conv2d)), "")
    found: dict[str, Tensor] = {}
    folded, unused = [], []
    fresh = {name: _NOT_IN_FILE for name in own if not name.endswith("num_batches_tracked")}
    for theirs, value in weights.items():
        name = _place(theirs, own)
        if name is None:
            unused.append(theirs)
            continue
        fitted = _fit(value, own[name].shape, fold=name == first)
        if fitted is None:
            fresh[name] = _difference(value.shape, own[name].shape, network.classes)
            continue
        found[name] = fitted
        fresh.pop(name, None)
        if fitted.shape != value.shape and name == first:
            folded.append(name)
    if not found:
        raise ModelError(
            "Nothing in the checkpoint fits this network: no tensor has the name and shape of one of its "
            "own. Checkpoints of ResNets and VGG16 fit networks with that backbone."
        )
    report = LoadReport(tuple(found), tuple(folded), fresh, tuple(unused))
    _check_backbone(report)
    network.load_state_dict({**own, **found})
    return report


def _read_safetensors(path: Path) -> Mapping[str, object]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as a .safetensors file: {error}.") from error


def _read_pytorch(path: Path) -> object:
    try:
        with path.open("rb") as file:
            beginning = file.read(2)
    except OSError as error:
        raise ModelError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    if not beginning.startswith((_ZIP, _PICKLE)):
        raise ModelError(f"{path} is no checkpoint of PyTorch; get it as a .pth or .safetensors file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was pickled, for its makers
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds Python objects beside weights, or is damaged. Objects in a file can run any code, "
            "so it is not loaded; get a file of weights alone (a state dict)."
        ) from error
    except _DAMAGED as error:
        raise ModelError(f"{path} is damaged, or no file of weights (a state dict); get it anew.") from error
    return content


def _place(theirs: str, own: Mapping[str, Tensor]) -> str | None:
    """Find the network's name of a checkpoint's tensor."""
    layer, _, kind = theirs.rpartition(".")
    candidates = (theirs, f"{_BACKBONE}{theirs}", f"{_FULLY_CONNECTED.get(layer)}.{kind}")
    return next((name for name in candidates if name in own), None)


def _fit(value: Tensor, wanted: torch.Size, *, fold: bool) -> Tensor | None:
    if value.shape == wanted:
        return value
    if not wanted and value.numel() == 1:  # counters: some files hold a single number as a list of one
        return value.reshape(())
    if value.ndim == 2 and len(wanted) == 4 and tuple(value.shape) == (wanted[0], math.prod(wanted[1:])):
        return value.reshape(wanted)  # a fully connected layer over a map, as a convolution
    if fold and value.ndim == 4 and (value.shape[0], *value.shape[2:]) == (wanted[0], *wanted[2:]):
        return (value.sum(dim=1, keepdim=True) / wanted[1]).expand(wanted)
    return None


def _difference(theirs: torch.Size, ours: torch.Size, classes: int) -> str:
    if ours[:1] == (classes,) and theirs[1:] == ours[1:]:
        return f"{theirs[0]} classes in the file, {classes} here"
    there, here = (" x ".join(map(str, shape)) or "one number" for shape in (theirs, ours))
    return f"{there} in the file, {here} here"


def _check_backbone(report: LoadReport) -> None:
    """Make sure that each stage of the backbone came whole, with nothing left over, or not at all.

    Else another depth or width would leave a mixture behind that looks loaded and knows nothing.
    """
    begun = {stage_of(name) for name in report.loaded}
    wrong = ""
    for name, reason in report.fresh.items():
        if name.startswith(_BACKBONE) and (reason != _NOT_IN_FILE or stage_of(name) in begun):
            wrong = wrong or f"{name}: {reason}"
    for name in report.unused:
        if stage_of(_BACKBONE + name.removeprefix(_BACKBONE)) in begun:
            wrong = wrong or f"{name} has no place"
    if wrong:
        raise ModelError(
            f"The checkpoint is of another backbone than this network's ({wrong}); "
            "choose the backbone and the width that it was made for."
        )
