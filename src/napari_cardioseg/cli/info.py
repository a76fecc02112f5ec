"""`info`: what a folder holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cardioseg.cli.series import describe, scan_path
from napari_cardioseg.domain import DataError

if TYPE_CHECKING:
    from napari_cardioseg.io import SeriesInfo

_EPILOG = """\
examples:
  napari-cardioseg info study/                      a folder, searched through all its subfolders
  napari-cardioseg info study.zip                   the same, as it came from the archive
  napari-cardioseg info study/ --json | jq '.series[0].uid'

The numbers are those that "segment --series N" takes; short-axis cines come first.
"""


def add_commands(commands: Any) -> None:
    """Add `info` to the program."""
    parser = commands.add_parser(
        "info",
        help="list the series of a DICOM folder",
        description="List every series at PATH, with what could not be read and why. Reads headers only.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="DICOM folder or file, or a .zip of a study")
    parser.add_argument("--json", action="store_true", help="print JSON, with keys that stay stable")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """List the series, as lines or as JSON."""
    result = scan_path(options.path)
    if options.json:
        series = [series_as_dict(s) for s in result.series]
        print(json.dumps({"series": series, "problems": list(result.problems)}, indent=2))
        return
    for number, one in enumerate(result.series, 1):
        print(f"{number:3d}  {describe(one)}")
        print(f"     {one.modality}, phases ordered by {one.time_source or 'nothing'}, uid {one.uid}")
        for warning in one.warnings:
            print(f"     warning: {warning}")
        if one.problem:
            print(f"     cannot be opened: {one.problem}")
    for problem in result.problems:
        print(f"problem: {problem}")
    if not result.series:
        raise DataError(f"There is no image series in {options.path}.")


def series_as_dict(series: SeriesInfo) -> dict[str, Any]:
    """Give what `info --json` says about one series."""
    return {
        "uid": series.uid,
        "description": series.description,
        "plane": series.plane,
        "slices": series.n_slices,
        "phases": series.n_phases,
        "matrix": list(series.matrix),
        "spacing_mm": None if series.spacing is None else [round(v, 6) for v in series.spacing],
        "modality": series.modality,
        "time_source": series.time_source,
        "warnings": list(series.warnings),
        "problem": series.problem,
        "patient_id": series.patient_id,
        "study_uid": series.study_uid,
    }
