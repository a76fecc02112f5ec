"""`train`: a network from labelled frames."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_cardioseg.cli.progress import run_job

_EPILOG = """\
examples:
  napari-cardioseg train unet.toml               train, or go on where this run was stopped
  napari-cardioseg train unet.toml --no-resume   train anew, over what an earlier run left

The TOML file says which frames, which network and how. Ctrl-C stops a run after its present step and
keeps a checkpoint of it, from which the same command goes on.
"""


def add_commands(commands: Any) -> None:
    """Add `train` to the program."""
    parser = commands.add_parser(
        "train",
        help="train a network from labelled frames",
        description="Train the network that CONFIG.toml describes and write it as a model file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="what to train, on what, and how")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on from this run's checkpoint where there is one (default: yes)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train, showing progress by the step."""
    from napari_cardioseg.io.frames import read_frames
    from napari_cardioseg.train import load_config, train

    config = load_config(options.config)
    frames = read_frames(config.data.frames)
    result = run_job(train(config, frames, resume=options.resume), "Training")
    print(f"{result.path}: trained on {result.card.training['frames']} frames")
