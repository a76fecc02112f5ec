"""`evaluate`: a model against frames whose labels are known."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from napari_cardioseg.cli.options import (
    add_model_option,
    add_prediction_options,
    check_output,
    load_model,
    prediction_options,
)
from napari_cardioseg.cli.progress import run_job

_EPILOG = """\
examples:
  napari-cardioseg evaluate --frames frames/
  napari-cardioseg evaluate --frames frames/ --patients SC-HF-I-01,SC-N-03
  napari-cardioseg evaluate --frames frames/ --model mine.safetensors --json out.json

DIR holds images/ and masks/ of PNG files with the same names (0 background, 1 LV cavity, 2 myocardium) and
frames.csv with the columns patient, instance, epicardium_known. Measured is what `segment` gives by
default; the myocardium counts only where epicardium_known is 1. A slice fails where its Dice is below 0.5.
"""


def add_commands(commands: Any) -> None:
    """Add `evaluate` to the program."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on frames with known labels",
        description="Measure Dice by slice and by volume, IoU and failures, for each patient and class.",
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
        "--json", type=Path, metavar="OUT", help="also write the results to this file as JSON"
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


def run(options: argparse.Namespace) -> None:
    """Measure, print a table, and write the JSON file where one was asked for."""
    from napari_cardioseg.io.frames import read_frames

    if options.json is not None:
        check_output(options.json)
    frames = read_frames(options.frames, options.patients)
    model = load_model(options.model)
    from napari_cardioseg.train import evaluate_frames

    result = run_job(evaluate_frames(frames, model, prediction_options(options)), "Evaluating")
    print(table(result))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
        print(f"written to {options.json}")


def table(result: dict[str, Any]) -> str:
    """Write the measures of every class as a table."""
    lines = [
        f"{result['model']}: {result['n_patients']} patient{'s' if result['n_patients'] != 1 else ''}",
        "class         Dice, slices  Dice, volumes  IoU, slices  failures  slices",
    ]
    for key, m in result["classes"].items():
        means = (m["dice_slice_mean"], m["dice_volume_mean"], m["iou_slice_mean"])
        slices, volumes, iou = ("-" if v is None else f"{v:.3f}" for v in means)
        lines.append(f"{key:<12}{slices:>14}{volumes:>15}{iou:>13}{m['failures']:>10}{m['n_slices']:>8}")
    return "\n".join(lines)
