"""What a training run is told: a TOML file, read into checked values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from napari_cardioseg.domain import (
    LV_SCHEME,
    ConfigError,
    LabelScheme,
    Preprocessing,
    misfit,
    unknown_names,
)
from napari_cardioseg.train.augment import Augmentation
from napari_cardioseg.train.losses import LossConfig
from napari_cardioseg.train.optimise import OptimiserConfig
from napari_cardioseg.train.recipes import find_recipe, laid_over

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """Which frames to train on, and which of their classes to learn.

    Parameters
    ----------
    frames : str
        Folder of labelled frames (`images`, `masks`, `frames.csv`); relative to the file that names it.
    validation : tuple of str
        Patients kept for validation.
    left_out : tuple of str
        Patients that play no part in the run.
    classes : tuple of str
        Keys of the classes to learn ("lv", "myo"), all else being background; none for all of them.
    fully_labelled_share : float
        Share of draws that fall on frames on which every class is labelled.
    """

    frames: str
    validation: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    fully_labelled_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("validation", "left_out", "classes"):
            value: Any = getattr(self, name)
            if isinstance(value, str):
                raise ConfigError(f'The data setting {name} is a list, as in {name} = ["{value}"].')
            object.__setattr__(self, name, tuple(value))
        if not 0 <= self.fully_labelled_share <= 1:
            raise ConfigError("The share fully_labelled_share lies between 0 and 1.")

    def scheme(self, whole: LabelScheme = LV_SCHEME) -> LabelScheme:
        """Give the classes to learn out of those of a whole scheme.

        Raises
        ------
        ConfigError
            If one is not in it.
        """
        unknown = sorted(set(self.classes) - {c.key for c in whole})
        if unknown:
            known = ", ".join(c.key for c in whole)
            raise ConfigError(f"There is no class {', '.join(unknown)} to learn; there are {known}.")
        return LabelScheme(tuple(c for c in whole if not self.classes or c.key in self.classes))


@dataclass(frozen=True)
class RunConfig:
    """How a run is carried out and recorded; nothing here changes what is learnt.

    Parameters
    ----------
    workers : int, optional
        Processes that make batches ahead; 0 to make them between steps. By default as many as help.
    checkpoint_every : int
        Steps between checkpoints; one is also written at each validation and when the run is stopped.
    log_every : int
        Steps over which the loss is averaged for a row of the log.
    tensorboard : bool
        Write curves and pictures for TensorBoard, too.
    pictures : int
        Validation frames to draw there.
    """

    workers: int | None = None
    checkpoint_every: int = 200
    log_every: int = 50
    tensorboard: bool = False
    pictures: int = 6

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("checkpoint_every", 1), ("log_every", 1), ("pictures", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"The run's setting {name} must be at least {least}.")


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
    run : RunConfig
    device : str
        "auto", "cpu", "cuda" or "mps".
    parent : str
        Name or file of a model to start from; empty to start from random weights.
    partial_parent : bool
        Take from the parent what fits by name and shape, rather than all or nothing: for a network with
        other classes, or another network on the same backbone.
    teacher : str
        Name or file of a model that labels the classes that nobody labelled on a frame; empty to learn
        from what was labelled only.
    recipe : str
        Name of the recipe that the configuration was laid over; empty for none.
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
    run: RunConfig = field(default_factory=RunConfig)
    device: str = "auto"
    parent: str = ""
    partial_parent: bool = False
    teacher: str = ""
    recipe: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not self.name or self.name != Path(self.name).name:
            raise ConfigError(f"A model cannot be named {self.name!r}: its name is also that of its file.")
        settled = [key for key in ("channels", "classes") if key in self.network]
        if settled:
            raise ConfigError(
                f"Leave {' and '.join(settled)} out of [network]: images have one channel, and the classes "
                "are those of [data]."
            )


_SECTIONS: dict[str, type[Any]] = {
    "loss": LossConfig,
    "optimiser": OptimiserConfig,
    "augmentation": Augmentation,
    "preprocessing": Preprocessing,
    "run": RunConfig,
}


def load_config(path: Path | None = None, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """Read a training run from a TOML file, laid over the recipe that it names.

    Paths in it are relative to the file's folder.

    Parameters
    ----------
    path : Path, optional
        The file; without it `changes` say everything.
    changes : mapping, optional
        Laid over the file's content; paths in it are relative to the working folder.

    Raises
    ------
    ConfigError
        If it cannot be read, lacks a section, or has an entry that is not known.
    """
    content = {} if path is None else _with_absolute_paths(_read_toml(path), path.resolve().parent)
    content = laid_over(content, _with_absolute_paths(changes or {}, Path.cwd()))
    where = "The configuration" if path is None else str(path)
    if "recipe" in content:
        content = laid_over(find_recipe(str(content["recipe"])).content, content)
    for required in ("name", "data", "network"):
        if required not in content:
            raise ConfigError(f"{where} has no {required!r}, which a training run needs.")
    folder = Path.cwd() if path is None else path.resolve().parent
    sections = {
        name: _read(cls, content.get(name, {}), f"[{name}] of {where}") for name, cls in _SECTIONS.items()
    }
    data = _read(DataConfig, content["data"], f"[data] of {where}")
    output = content.get("output", folder / "runs" / str(content["name"]))
    return _read(TrainConfig, {**content, **sections, "data": data, "output": output}, where)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The training configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}.") from error


def _with_absolute_paths(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Give the content with its paths in full; what is no path at all is left for `_read` to refuse."""
    changed = dict(content)
    if isinstance(changed.get("output"), str | Path):
        changed["output"] = folder / changed["output"]
    data = changed.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("frames"), str | Path):
        changed["data"] = {**data, "frames": str(folder / data["frames"])}
    for role in ("parent", "teacher"):  # the file that lies there, or else a shipped model's name
        named = changed.get(role)
        if named and isinstance(named, str) and (folder / named).is_file():
            changed[role] = str(folder / named)
    return changed


def _read(cls: type[T], values: Any, where: str) -> T:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a section with entries, not {values!r}.")
    kinds = get_type_hints(cls)
    unknown = unknown_names(list(values), list(kinds))
    if unknown:
        raise ConfigError(f"{where} has {unknown}")
    for f in fields(cls):  # type: ignore[arg-type]  # only called with dataclasses
        if f.name not in values:
            if f.default is MISSING and f.default_factory is MISSING:
                raise ConfigError(f"{where} has no {f.name!r}, which a training run needs.")
            continue
        wrong = misfit(values[f.name], kinds[f.name])
        if wrong:
            raise ConfigError(f"{where}: {f.name} must be {wrong}.")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where} cannot be used: {str(error).rstrip('.')}.") from error
