"""`evaluate`: a model against frames whose labels are known."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cardioseg.cli.evaluation_tables import heading, notes, tables, write_slices
from napari_cardioseg.cli.options import (
    add_model_option,
    add_prediction_options,
    check_output,
    load_model,
    prediction_options,
)
from napari_cardioseg.cli.progress import run_job
from napari_cardioseg.domain import LV_SCHEME, LabelledFrame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EPILOG = """\
examples:
  napari-cardioseg evaluate --frames frames/
  napari-cardioseg evaluate --frames frames/ --patients SC-HF-I-01,SC-N-03
  napari-cardioseg evaluate --frames frames/ --model mine.safetensors --json out.json
  napari-cardioseg evaluate --frames frames/ --page out.html --csv slices.csv --pixel-size 1.25

DIR holds images/ and masks/ of PNG files with the same names (0 background, 1 LV cavity, 2 myocardium) and
frames.csv with the columns patient, instance, epicardium_known. Measured is what `segment` gives by
default; the myocardium counts only where epicardium_known is 1. A slice fails where its Dice is below 0.5.
HD95 and ASD are the Hausdorff distance at 95 % and the average symmetric surface distance of contours within
a slice. PNG files do not state how large their pixels are: without --pixel-size the longer side of an image
is taken for 340 mm.
"""


def add_commands(commands: Any) -> None:
    """Add `evaluate` to the program."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on frames with known labels",
        description="Measure overlap, distances and pixel accuracy for each class and patient.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--frames", type=Path, required=True, metavar="DIR", help="folder of images and masks"
    )
    parser.add_argument(
        "--patients",
        type=patient_list,
        metavar="A,B",
        help="only these patients, separated by commas (default: all)",
    )
    parser.add_argument(
        "--pixel-size",
        type=pixel_size,
        metavar="MM",
        help="side of the images' square pixels; the model is told too (default: unknown)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write all results to this JSON file")
    parser.add_argument("--csv", type=Path, metavar="OUT", help="also write a row for each slice and class")
    parser.add_argument(
        "--page", type=Path, metavar="OUT.html", help="also write a page with the worst slices drawn"
    )
    add_model_option(parser)
    add_prediction_options(parser)
    parser.set_defaults(run=run)


def patient_list(text: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("names no patient")
    return names


def pixel_size(text: str) -> tuple[float, float]:
    """Read the side of a square pixel in mm."""
    try:
        side = float(text)
    except ValueError:
        side = math.nan
    if not 0.1 <= side <= 10:  # beyond, a frame would be gigabytes for a network, or a few pixels
        raise argparse.ArgumentTypeError(f"{text!r} is no size from 0.1 to 10 mm, such as 1.25")
    return side, side


def run(options: argparse.Namespace) -> None:
    """Measure, print the tables, and write the files that were asked for."""
    from napari_cardioseg.io.frames import read_frames

    given = ((options.json, _write_json), (options.csv, _write_csv), (options.page, _write_page))
    outputs = [(path, write) for path, write in given if path is not None]
    for path, _ in outputs:
        check_output(path)
    frames = read_frames(options.frames, options.patients)
    model = load_model(options.model)
    from napari_cardioseg.train.compare import compare_frames
    from napari_cardioseg.train.evaluate import identify, segment_frames, shared_classes

    scheme = shared_classes(model, LV_SCHEME)
    job = segment_frames(
        frames, model, prediction_options(options), scheme=scheme, pixel_size=options.pixel_size
    )
    found = run_job(job, "Evaluating")
    compared = compare_frames(frames, found, scheme, pixel_size=options.pixel_size)
    report = {**identify(model, frames), **compared}
    print("\n\n".join(("\n".join((heading(report), *notes(report))), *map(str, tables(report)))))
    for path, write in outputs:
        write(path, report, frames, found)
        print(f"written to {path}")


def _write_json(path: Path, report: dict[str, Any], *_: object) -> None:
    path.write_text(json.dumps(report, indent=2) + "\n")


def _write_csv(path: Path, report: dict[str, Any], *_: object) -> None:
    write_slices(path, report)


def _write_page(
    path: Path, report: dict[str, Any], frames: Sequence[LabelledFrame], found: Sequence[NDArray[np.uint8]]
) -> None:
    # Loaded here: what draws the slices takes its time, and few runs want it.
    from napari_cardioseg.cli.evaluation_page import page

    path.write_text(page(report, frames, found), encoding="utf-8")
