"""Model files: safetensors weights with a JSON card in the same file's header; never a pickle."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from napari_cardioseg.domain import (
    Code,
    LabelClass,
    LabelScheme,
    ModelCard,
    ModelError,
    Preprocessing,
)

FORMAT = "napari-cardioseg model"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"
DEFAULT_MODEL = "unet-sunnybrook"


@dataclass(frozen=True)
class ModelFile:
    """A model as it lies on disk: its card, and its weights by the network's own parameter names."""

    card: ModelCard
    weights: dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be chosen by name."""

    name: str
    path: Path
    card: ModelCard


def shipped_folder() -> Path:
    """Give the folder of the models that come with the package."""
    return Path(str(files("napari_cardioseg.store") / "shipped"))


def list_models() -> list[ModelEntry]:
    """List the models that ship with the package, the default first.

    Raises
    ------
    ModelError
        If one of the files is damaged.
    """
    found = [
        ModelEntry(path.stem, path, read_card(path)) for path in sorted(shipped_folder().glob(f"*{SUFFIX}"))
    ]
    return sorted(found, key=lambda entry: entry.name != DEFAULT_MODEL)


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Find the file of a model by the name of a shipped one or by its path.

    Raises
    ------
    ModelError
        If there is neither.
    """
    shipped = shipped_folder() / f"{os.fspath(name_or_path)}{SUFFIX}"
    if shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = ", ".join(p.stem for p in sorted(shipped_folder().glob(f"*{SUFFIX}"))) or "none"
    raise ModelError(
        f"There is no model called {os.fspath(name_or_path)!r}, nor a file of that name. "
        f"Models that come with the program: {names}."
    )


def read_card(path: Path) -> ModelCard:
    """Read a model file's card without its weights.

    Raises
    ------
    ModelError
        If the file is damaged or not one of ours.
    """
    try:
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is not a model file, or it is damaged ({error}). "
            f"Models are {SUFFIX} files made by this program."
        ) from error
    return _parse_card(metadata, path)


def read_model(name_or_path: str | os.PathLike[str]) -> ModelFile:
    """Read a model by the name of a shipped one or from its file.

    Raises
    ------
    ModelError
        If it is not there, damaged or not one of ours.
    """
    path = find_model(name_or_path)
    card = read_card(path)
    try:
        with safe_open(path, framework="numpy") as opened:
            weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"The weights in {path} are damaged ({error}); get the file anew.") from error
    return ModelFile(card, weights)


def write_model(path: Path, model: ModelFile) -> None:
    """Write a model file in one step, so that no half-written file is ever seen under its name.

    Raises
    ------
    ModelError
        If the file cannot be written there.
    """
    card = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(model.card)}
    weights = {name: np.asarray(value, order="C") for name, value in model.weights.items()}
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(save(weights, {"card": json.dumps(card)}))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ModelError(f"The model could not be written to {path}: {error}.") from error


def _parse_card(metadata: dict[str, str], path: Path) -> ModelCard:
    try:
        card = json.loads(metadata["card"])
        if card.pop("format") != FORMAT:
            raise KeyError("format")
        version = card.pop("version")
        if version > FORMAT_VERSION:
            raise ModelError(
                f"{path} was written by a newer version of this program (format {version}); update it."
            )
        scheme = _parse_scheme(card.pop("scheme"))
        return ModelCard(scheme=scheme, preprocessing=Preprocessing(**card.pop("preprocessing")), **card)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} holds weights, but no description that this program understands; "
            "it is another program's model."
        ) from error


def _parse_scheme(scheme: dict[str, Any]) -> LabelScheme:
    classes = []
    for c in scheme["classes"]:
        code = None if c["code"] is None else Code(**c["code"])
        classes.append(LabelClass(c["value"], c["key"], c["name"], tuple(c["colour"]), code))
    return LabelScheme(tuple(classes))
