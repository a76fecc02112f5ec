"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cardioseg.domain import ConfigError

if TYPE_CHECKING:
    from napari_cardioseg.predict import Model, PredictOptions


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add --model."""
    parser.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="a name that `models` lists, or a model file (default: the shipped U-Net)",
    )


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Add the options on how a model is applied; left out, each keeps the library's default."""
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps"),
        help="where to compute (default: auto)",
    )
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        help="average over several views of each image: slower (default: on)",
    )
    parser.add_argument(
        "--no-cleanup", action="store_true", help="keep the network's raw labels, second hearts and all"
    )


def prediction_options(options: argparse.Namespace) -> PredictOptions:
    """Make the library's options from the parsed ones."""
    from napari_cardioseg.predict import PredictOptions

    given = {} if options.tta is None else {"tta": options.tta}
    return PredictOptions(device=options.device, clean_up=not options.no_cleanup, **given)


def load_model(name: str | None) -> Model:
    """Read the model that --model names.

    Raises
    ------
    ModelError
        If it is missing, damaged or foreign.
    """
    from napari_cardioseg.store.models import DEFAULT_MODEL, read_model

    file = read_model(
        name or DEFAULT_MODEL
    )  # before torch, which takes its time, so that a slip shows at once
    from napari_cardioseg.predict import Model

    return Model.build(file.card, file.weights)


def add_set_option(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add --set, whose KEY=VALUE `read_setting` reads."""
    parser.add_argument(
        "--set",
        dest="settings",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help=meaning,
    )


def read_setting(text: str, example: str) -> dict[str, Any]:
    """Read KEY=VALUE as a line of a TOML file; a word needs no quotes, of which the shell has freed it.

    Raises
    ------
    ConfigError
        If it is none; `example` shows how one looks.
    """
    key, equals, value = text.partition("=")
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    for line in (text, f'{key} = "{quoted}"') if equals else ():
        try:
            return tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError(f"--set wants KEY=VALUE, as in {example}, not {text!r}.")


def check_output(path: Path) -> None:
    """Make sure that a file can be written at `path` before hours go into what it is to hold.

    Raises
    ------
    ConfigError
        If its folder is missing or read-only, or a folder stands in its place.
    """
    folder = path.parent
    if not folder.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {folder}; make it first.")
    if path.is_dir():
        raise ConfigError(f"{path} cannot be written: it is a folder; give a file name in it.")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigError(f"{path} cannot be written: you may not write there; choose another folder.")
