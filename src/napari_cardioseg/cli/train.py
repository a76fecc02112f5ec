"""`train`: a network from labelled frames."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_cardioseg.cli.evaluate import patient_list
from napari_cardioseg.cli.options import add_set_option, read_setting
from napari_cardioseg.cli.progress import run_job
from napari_cardioseg.domain import ConfigError, Job, drain

if TYPE_CHECKING:
    from napari_cardioseg.domain import ModelCard
    from napari_cardioseg.train import TrainConfig

T = TypeVar("T")

_EPILOG = """\
examples:
  napari-cardioseg train unet.toml               train, or go on where this run was stopped
  napari-cardioseg train unet.toml --no-resume   train anew, over what an earlier run left
  napari-cardioseg train unet.toml --folds 5     cross-validate, and join the folds in one model
  napari-cardioseg train --recipe unet2015 --frames frames/ --validation SC-N-03,SC-N-05 -o runs/unet
  napari-cardioseg train --recipe cardioseg --network segnet --frames frames/ -o runs/segnet
  torchrun --nproc-per-node 4 -m napari_cardioseg.cli train unet.toml     train on four GPUs

The TOML file says which frames, which network and how; it may name a recipe to lay itself over. Ctrl-C stops
a run after its present step and keeps a checkpoint of it, from which the same command goes on. The run's
folder gets the model, log.csv and, with --set run.tensorboard=true, curves and pictures for TensorBoard.
"""


def add_commands(commands: Any) -> None:
    """Add `train` to the program."""
    parser = commands.add_parser(
        "train",
        help="train a network from labelled frames",
        description="Train the network that CONFIG.toml or a recipe describes and write it as a model file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "config", type=Path, nargs="?", metavar="CONFIG.toml", help="what to train, on what, and how"
    )
    parser.add_argument(
        "--recipes",
        action="store_true",
        help="list the recipes that come with the program, and their sources",
    )
    parser.add_argument("--recipe", metavar="NAME", help="the recipe to train by")
    parser.add_argument("--frames", type=Path, metavar="DIR", help="folder of labelled frames")
    parser.add_argument(
        "--validation", type=patient_list, metavar="A,B", help="patients to validate on, separated by commas"
    )
    parser.add_argument("--network", metavar="NAME", help="another network, with its default arguments")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the run; without a file, its name is the model's",
    )
    add_set_option(parser, "any other entry of the file, as in optimiser.steps=2000")
    parser.add_argument(
        "--folds", type=int, metavar="N", help="cross-validate by patient with this many folds"
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on from this run's checkpoint where there is one (default: yes)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train or cross-validate, showing progress by the step."""
    if options.recipes:
        _list_recipes()
        return
    if options.config is None and None in (options.recipe, options.frames, options.output):
        raise ConfigError(
            "Give a CONFIG.toml to train by, or else all of --recipe, --frames and -o; see train --help."
        )
    from napari_cardioseg.train.config import load_config

    config = load_config(options.config, _changes(options))
    if options.folds is None:
        _train(config, resume=options.resume)
    else:
        _cross_validate(config, options.folds, resume=options.resume)


def _train(config: TrainConfig, *, resume: bool) -> None:
    from napari_cardioseg.io.frames import read_frames
    from napari_cardioseg.train import train

    frames = read_frames(config.data.frames)
    result = _run(train(config, frames, resume=resume), "Training", config.output)
    if _leads():
        print(f"{result.path}: trained on {result.card.training['frames']} frames{_validated(result.card)}")


def _validated(card: ModelCard) -> str:
    """Say how the weights that were kept did on the validation patients, if there are any."""
    found = card.metrics.get("validation")
    if not found or "dice" not in found:
        return ""
    names = {c.key: c.name for c in card.scheme}
    dice = ", ".join(f"{names[key]} {value:.3f}" for key, value in found["dice"].items())
    return f"; step {found['step']}, Dice by slice on the validation patients: {dice}"


def _cross_validate(config: TrainConfig, folds: int, *, resume: bool) -> None:
    from napari_cardioseg.cli.evaluation_tables import heading, notes, tables
    from napari_cardioseg.io.frames import read_frames
    from napari_cardioseg.train.crossval import REPORT, cross_validate

    frames = read_frames(config.data.frames)
    result = _run(cross_validate(config, frames, folds, resume=resume), "Cross-validation", config.output)
    if _leads():
        head = f"{heading(result.report)}, each by the network that was trained without them"
        said = "\n".join((head, *notes(result.report)))
        print("\n\n".join((said, *map(str, tables(result.report)))))
        print(f"\n{result.path}: all {folds} folds as one model; written to {config.output / REPORT}")


def _run(job: Job[T], title: str, output: Path) -> T:
    """Run a job; of the processes that torchrun started only the first shows its progress."""
    if not _leads():
        return drain(job)
    from napari_cardioseg.train.loop import CHECKPOINT

    try:
        return run_job(job, title)
    except KeyboardInterrupt:
        if any(output.rglob(CHECKPOINT)):
            raise KeyboardInterrupt(f"stopped; the same command goes on from {output}.") from None
        raise


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """Give what the options say, in the form of the file."""
    from napari_cardioseg.train.recipes import laid_over

    given: dict[str, Any] = {}
    for setting in options.settings:
        given = laid_over(given, read_setting(setting, "optimiser.steps=2000"))
    if options.recipe is not None:
        given["recipe"] = options.recipe
    if options.output is not None:
        given["output"] = options.output
    if options.config is None:
        given.setdefault("name", options.output.resolve().name)
    if options.network is not None:
        given["network"] = {"name": options.network, **given.get("network", {})}
    data = {"frames": options.frames, "validation": options.validation}
    data = {key: value for key, value in data.items() if value is not None}
    return laid_over(given, {"data": data} if data else {})


def _list_recipes() -> None:
    from napari_cardioseg.train.recipes import list_recipes

    for recipe in list_recipes():
        print(f"{recipe.name}\n  {recipe.content['description']}\n  {recipe.source}")
