"""Finding the series that a command is to work on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cardioseg.cli.progress import run_job
from napari_cardioseg.domain import DataError

if TYPE_CHECKING:
    from napari_cardioseg.io import ScanResult, SeriesInfo


def scan_path(path: Path) -> ScanResult:
    """List the series at `path` and warn about what cannot be read.

    Raises
    ------
    DataError
        If there is nothing at `path`.
    """
    from napari_cardioseg.io import scan

    if not path.exists():
        raise DataError(f"There is no file or folder {path}.")
    return run_job(scan(path), "Reading headers")


def choose_series(found: Sequence[SeriesInfo], wanted: str | None, path: Path) -> SeriesInfo:
    """Choose the series called `wanted`, or by itself the first short-axis cine.

    Parameters
    ----------
    found : sequence of SeriesInfo
        In the order that `info` lists them.
    wanted : str, optional
        A number from 1 in that order, or a SeriesInstanceUID.
    path : Path
        Where they were found, for messages.

    Raises
    ------
    DataError
        If there is none, more than one that could be meant, or the one meant cannot be opened.
    """
    if not found:
        raise DataError(f"There is no image series in {path}; `napari-cardioseg info` says what was read.")
    if wanted is None:
        chosen = _choose_alone(found, path)
    else:
        matches = [s for i, s in enumerate(found, 1) if wanted in (str(i), s.uid)]
        if not matches:
            raise DataError(f"There is no series {wanted!r} in {path}. It holds:\n{list_series(found)}")
        chosen = matches[0]
    if chosen.problem:
        raise DataError(f"This series cannot be opened: {chosen.problem}")
    return chosen


def _choose_alone(found: Sequence[SeriesInfo], path: Path) -> SeriesInfo:
    usable = [s for s in found if not s.problem]
    cines = [s for s in usable if s.is_short_axis_cine]
    if len(cines) > 1:
        print(
            f"note: of {len(cines)} short-axis cines this takes the first; `info` lists them for --series",
            file=sys.stderr,
        )
    if cines:
        return cines[0]
    if len(usable) == 1:
        return usable[0]
    raise DataError(
        f"No short-axis cine was found in {path}; choose a series with --series:\n{list_series(found)}"
    )


def list_series(found: Sequence[SeriesInfo]) -> str:
    """Write one line a series, numbered from 1."""
    return "\n".join(f"{number:3d}  {describe(series)}" for number, series in enumerate(found, 1))


def describe(series: SeriesInfo) -> str:
    """Write a series on one line: what it shows, how large, how fine."""
    rows, columns = series.matrix
    size = (
        f"{_count(series.n_slices, 'slice')} x {_count(series.n_phases, 'phase')}, {columns} x {rows} pixels"
    )
    spacing = ""
    if series.spacing is not None:
        dz, dy, dx = series.spacing
        spacing = f", {dx:.2f} x {dy:.2f} mm, slices {dz:.1f} mm apart"
    patient = f"{series.patient_id}: " if series.patient_id else ""
    return f"{patient}{series.description or 'no description'} ({series.plane}), {size}{spacing}"


def warn(sentences: Sequence[str]) -> None:
    """Print what was odd, one sentence a line, on stderr."""
    for sentence in sentences:
        print(f"warning: {sentence}", file=sys.stderr)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
