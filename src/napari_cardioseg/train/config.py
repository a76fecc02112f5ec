"""What a training run is told: a TOML file, read into checked values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from napari_cardioseg.domain import ConfigError, Preprocessing
from napari_cardioseg.train.augment import Augmentation

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
class OptimiserConfig:
    """How long and how fast to learn.

    AdamW (Loshchilov & Hutter, 2019) with a linear warm-up and a cosine decay to zero, and an
    exponential moving average of the weights, which is what is kept.

    Parameters
    ----------
    steps : int
        Steps of the optimiser in all.
    batch : int
        Crops in a step.
    crop : int
        Side of a crop in pixels.
    learning_rate : float
        The highest, after the warm-up.
    warm_up : int
        Steps of the warm-up.
    weight_decay : float
        AdamW's.
    average : float
        Decay of the moving average in each step.
    gradient_norm : float
        Gradients longer than this are shortened to it.
    validate_every : int
        Steps between validations, which are also the steps between checkpoints.
    keep_best : bool
        Keep the weights that did best on the validation patients rather than the last.
    dice_per_frame : bool
        Take the Dice loss frame by frame, rather than over the whole batch.
    seed : int
        Seed of all randomness.
    """

    steps: int = 8000
    batch: int = 8
    crop: int = 160
    learning_rate: float = 2e-3
    warm_up: int = 200
    weight_decay: float = 0.02
    average: float = 0.998
    gradient_norm: float = 5.0
    validate_every: int = 500
    keep_best: bool = True
    dice_per_frame: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "learning_rate", "validate_every", "gradient_norm"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"The training setting {name} must be more than 0.")
        if not 0 <= self.average < 1:
            raise ConfigError("The training setting average must be at least 0 and less than 1.")


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
