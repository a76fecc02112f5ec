"""What a training run is told: a TOML file, read into checked values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from napari_cardioseg.domain import ConfigError, Preprocessing
from napari_cardioseg.train.augment import Augmentation
from napari_cardioseg.train.losses import LossConfig
from napari_cardioseg.train.optimise import OptimiserConfig

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """Which frames to train on.

    Parameters
    ----------
    frames : str
        Folder of labelled frames (`images`, `masks`, `frames.csv`); relative to the file that names it.
    validation : tuple of str
        Patients kept for validation.
    fully_labelled_share : float
        Share of draws that fall on frames on which every class is labelled.
    """

    frames: str
    validation: tuple[str, ...] = ()
    fully_labelled_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.fully_labelled_share <= 1:
            raise ConfigError("The share fully_labelled_share lies between 0 and 1.")


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Parameters
    ----------
    name : str
        Name of the model to make.
    output : Path
        Folder of the run: checkpoint, log and the model itself.
    data : DataConfig
    network : mapping
        Name and arguments for `models.build_network`.
    loss : LossConfig
    optimiser : OptimiserConfig
    augmentation : Augmentation
    preprocessing : Preprocessing
    device : str
        "auto", "cpu", "cuda" or "mps".
    parent : str
        Name or file of a model to start from; empty to start from random weights.
    teacher : str
        Name or file of a model that labels the classes that nobody labelled on a frame; empty to learn
        from what was labelled only.
    description : str
        For the model's card.
    """

    name: str
    output: Path
    data: DataConfig
    network: Mapping[str, Any]
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    device: str = "auto"
    parent: str = ""
    teacher: str = ""
    description: str = ""


def load_config(path: Path) -> TrainConfig:
    """Read a training run from a TOML file.

    Paths in it are relative to the file's folder.

    Raises
    ------
    ConfigError
        If it cannot be read, lacks a section, or has an entry that is not known.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The training configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}.") from error
    for required in ("name", "data", "network"):
        if required not in content:
            raise ConfigError(f"{path} has no {required!r}, which a training run needs.")
    folder = path.resolve().parent
    data = _read(DataConfig, content.pop("data"), f"[data] of {path}")
    data = DataConfig(str(folder / data.frames), tuple(data.validation), data.fully_labelled_share)
    return _read(
        TrainConfig,
        {
            **content,
            "output": folder / content.get("output", f"runs/{content['name']}"),
            "data": data,
            **{key: _beside(folder, content.get(key, "")) for key in ("parent", "teacher")},
            "loss": _read(LossConfig, content.get("loss", {}), f"[loss] of {path}"),
            "optimiser": _read(OptimiserConfig, content.get("optimiser", {}), f"[optimiser] of {path}"),
            "augmentation": _read(Augmentation, content.get("augmentation", {}), f"[augmentation] of {path}"),
            "preprocessing": _read(
                Preprocessing, content.get("preprocessing", {}), f"[preprocessing] of {path}"
            ),
        },
        str(path),
    )


def _beside(folder: Path, model: str) -> str:
    """Give the path of a model that lies where the configuration says, else its name."""
    return str(folder / model) if model and (folder / model).is_file() else model


def _read(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # only called with dataclasses
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"{where} has {', '.join(unknown)}, which is not known; known are {', '.join(known)}."
        )
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where} cannot be used: {error}.") from error
