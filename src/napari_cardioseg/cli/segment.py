"""`segment`: a cine in, labels out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cardioseg.cli.options import (
    add_model_option,
    add_prediction_options,
    check_output,
    load_model,
    prediction_options,
)
from napari_cardioseg.cli.progress import run_job
from napari_cardioseg.cli.series import choose_series, describe, scan_path, warn
from napari_cardioseg.domain import Cine, ConfigError, DataError, SliceState

if TYPE_CHECKING:
    from napari_cardioseg.predict import Model, Prediction

_EPILOG = """\
examples:
  napari-cardioseg segment study/ -o lv.nii.gz                  the first short-axis cine, every phase
  napari-cardioseg segment study/ --series 2 -o lv.nii.gz       the second series that `info` lists
  napari-cardioseg segment study/ --phases ed-es -o lv.nii.gz   only end-diastole and end-systole
  napari-cardioseg segment study/ --phases 0 -o first.nii.gz    only the first phase, as a 3-D file

The file holds (x, y, z, t) with the source's affine: 0 background, 1 LV cavity, 2 myocardium. With
--phases N it is 3-D; with --phases ed-es it is 4-D and the phases between are empty.
"""


def add_commands(commands: Any) -> None:
    """Add `segment` to the program."""
    parser = commands.add_parser(
        "segment",
        help="segment a cine into a NIfTI file",
        description="Segment the short-axis cine at PATH and write its labels as NIfTI.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="DICOM folder or file, .zip, or NIfTI")
    parser.add_argument(
        "-o",
        "--output",
        type=nifti_path,
        required=True,
        metavar="OUT.nii.gz",
        help="the file to write, .nii or .nii.gz",
    )
    parser.add_argument(
        "--series",
        metavar="UID|N",
        help="which series, by its number in `info` or its UID (default: first short-axis cine)",
    )
    parser.add_argument(
        "--phases",
        type=phases_choice,
        default="all",
        metavar="all|ed-es|N",
        help="all phases (default), end-diastole and end-systole, or phase N, counted from 0",
    )
    add_model_option(parser)
    add_prediction_options(parser)
    parser.set_defaults(run=run)


def nifti_path(text: str) -> Path:
    """Read the output's name; anything but NIfTI is wrong usage."""
    if not text.lower().endswith((".nii", ".nii.gz")):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .nii or .nii.gz")
    return Path(text)


def phases_choice(text: str) -> str | int:
    """Read --phases: "all", "ed-es" or a phase's number from 0."""
    if text in ("all", "ed-es"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither all, ed-es nor a phase's number from 0")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Segment one series and write its labels."""
    check_output(options.output)
    check_no_corrections(options.output)
    model = load_model(options.model)
    cine = load_series(options.path, options.series)
    check_no_source(options.output, Path(cine.source))
    if isinstance(options.phases, int) and options.phases >= cine.n_phases:
        raise ConfigError(
            f"There is no phase {options.phases}: this cine has phases 0 to {cine.n_phases - 1}."
        )
    prediction = predict(cine, model, options)
    phase = options.phases if isinstance(options.phases, int) else None
    write_labels(options.output, prediction, cine, phase)
    what = f"{cine.n_phases} phases" if phase is None else f"phase {phase}"
    if options.phases == "ed-es":
        what += ", of which two are labelled"
    print(f"{options.output}: {cine.n_slices} slices, {what}, by {prediction.model.card.name}")


def load_series(path: Path, wanted: str | None) -> Cine:
    """Load the series that is meant, telling which, and what is odd about it."""
    from napari_cardioseg.io import load_cine

    result = scan_path(path)
    series = choose_series(result.series, wanted, path)
    print(f"series: {describe(series)}")
    cine = run_job(load_cine(series), "Loading")
    warn(cine.warnings)
    return cine


def predict(cine: Cine, model: Model, options: argparse.Namespace) -> Prediction:
    """Segment the phases that were asked for."""
    from napari_cardioseg.predict import predict_cine, predict_ed_es

    how = prediction_options(options)
    if options.phases == "ed-es":
        prediction, ed, es = run_job(predict_ed_es(cine, model, options=how), "Segmenting")
        print(f"end-diastole is phase {ed}, end-systole phase {es} (counted from 0)")
        return prediction
    phases = None if options.phases == "all" else (options.phases,)
    return run_job(predict_cine(cine, model, phases=phases, options=how), "Segmenting")


def write_labels(path: Path, prediction: Prediction, cine: Cine, phase: int | None) -> None:
    """Write all phases (x, y, z, t), as the window would save them, or one phase (x, y, z)."""
    from napari_cardioseg.io.nifti import write_nifti_labels
    from napari_cardioseg.io.saved_labels import save_labels

    if phase is None:
        save_labels(path, prediction.as_segmentation(), cine)
    else:
        write_nifti_labels(path, prediction.labels, cine.geometry, phase=phase)


def check_no_source(output: Path, source: Path) -> None:
    """Make sure that the labels do not replace the images.

    Raises
    ------
    ConfigError
        If both names mean the same file.
    """
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output} holds the images themselves; choose another name for the labels.")


def check_no_corrections(path: Path) -> None:
    """Make sure that no reader's work is at `path`, which a prediction would replace.

    Raises
    ------
    ConfigError
        If slices of the labels there were corrected or accepted.
    """
    from napari_cardioseg.io.saved_labels import read_saved_labels

    if not path.exists():
        return
    try:
        saved = read_saved_labels(path)
    except DataError:
        return  # whatever it is, it is no work of ours
    users = int((saved.segmentation.states >= SliceState.EDITED).sum())
    if saved.is_ours and users:
        raise ConfigError(
            f"{path} holds {users} slices that a reader has corrected or accepted; choose another name."
        )
