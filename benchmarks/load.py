"""Open DICOM: load a 240-file cine, scan a folder of 5,000 files.

Loading is timed against the least that pydicom can do with the same files, a bare loop of
``pydicom.dcmread(f).pixel_array``; scanning against ``dcmread(f, stop_before_pixels=True)``. "Open" is a
scan and a load, what the user waits for. The cine is one of the Sunnybrook development data, or the
phantom where those are absent; `--cine` names another folder.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pydicom

from benchmarks.harness import REPOSITORY, Report, main
from napari_cardioseg.domain import drain
from napari_cardioseg.io import SeriesInfo, load_cine, scan
from napari_cardioseg.io.phantom import make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom

SUNNYBROOK = REPOSITORY.parent / "shared" / "data" / "sunnybrook" / "dicom" / "SCD0000101"
SCANNED_FILES = 5000
GOAL = 1.3


def read_pixels(files: Sequence[Path]) -> None:
    """Read all pixels with nothing but pydicom."""
    for file in files:
        _ = pydicom.dcmread(file).pixel_array


def read_headers(files: Sequence[Path]) -> None:
    """Read all headers with nothing but pydicom."""
    for file in files:
        pydicom.dcmread(file, stop_before_pixels=True)


def only_series(folder: Path) -> SeriesInfo:
    """Scan a folder that holds one cine."""
    (series,) = drain(scan(folder)).series
    return series


def multiply(series: SeriesInfo, folder: Path, n_files: int) -> None:
    """Write `n_files` files like those of a series, a new series for each round through it.

    Headers are copied but for the series' UID; pixels are a hole in a file of the same length.
    """
    uid = series.files[0].series.uid.encode()
    for i in range(n_files):
        round_, which = divmod(i, len(series.files))
        frame = series.files[which]
        source = Path(frame.file.source.path)
        header = source.read_bytes()[: frame.file.offset]
        target = folder / f"series{round_:03}" / f"IM{which:04}"
        target.parent.mkdir(exist_ok=True)
        with target.open("wb") as file:
            file.write(header.replace(uid, uid[:-3] + b"%03d" % (100 + round_)))
            file.truncate(source.stat().st_size)


def run(report: Report, options: argparse.Namespace) -> None:
    """Measure loading, then scanning."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.cine or (SUNNYBROOK if SUNNYBROOK.is_dir() else Path(temporary) / "phantom")
        if not folder.exists():
            write_phantom_dicom(folder, make_phantom(n_slices=12, n_phases=20))
        series = only_series(folder)
        files = [Path(frame.file.source.path) for frame in series.files]
        report.fact("cine", f"{folder.name}: {series.n_slices} slices x {series.n_phases} phases")
        report.fact("files", len(files))
        report.compare(
            "load", lambda: drain(load_cine(series)), "bare pixel_array loop", lambda: read_pixels(files)
        )
        report.goal("load / bare pixel_array loop", at_most=GOAL)
        report.compare(
            "open (scan and load)",
            lambda: drain(load_cine(only_series(folder))),
            "bare pixel_array loop, again",
            lambda: read_pixels(files),
        )
        report.goal("open (scan and load) / bare pixel_array loop, again", at_most=GOAL)

        many = Path(temporary) / "many"
        many.mkdir()
        multiply(series, many, SCANNED_FILES)
        everything = sorted(many.rglob("IM*"))
        report.fact("files scanned", len(everything))
        report.fact("series found", len(drain(scan(many)).series))
        report.compare(
            "scan", lambda: drain(scan(many)), "bare header loop", lambda: read_headers(everything), warm_up=0
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let another cine be measured."""
    parser.add_argument("--cine", type=Path, metavar="FOLDER", help="folder of the cine to load")


if __name__ == "__main__":
    main(run, __doc__, add_options)
