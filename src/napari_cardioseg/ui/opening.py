"""Finding, loading and reopening what is to be segmented, all in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cardioseg.domain import CardioSegError, Cine, DataError, Job, Progress, Segmentation

if TYPE_CHECKING:
    from napari_cardioseg.io import ScanResult, SeriesInfo
    from napari_cardioseg.io.saved_labels import SavedLabels
    from napari_cardioseg.ui.session import Session


@dataclass(frozen=True)
class Found:
    """What there is to show: a scan, the cine loaded from it, masks for it, or what stood in the way."""

    scan: ScanResult | None = None
    series: SeriesInfo | None = None
    cine: Cine | None = None
    segmentation: Segmentation | None = None
    saved: SavedLabels | None = None
    problem: str = ""


def open_path(session: Session, path: str | Path, *, load_first: bool = False) -> bool:
    """Scan a folder, zip or file, or reopen it if it holds labels that this program saved.

    Parameters
    ----------
    session : Session
    path : path
    load_first : bool
        Load the first short-axis cine, or else the first series, even if there are others; else only
        where there is just one and no cine is open.
    """
    path = Path(path).expanduser()
    job = _open(path, load_first, session.cine)

    def show(found: Found) -> None:
        _show(session, found)

    return session.jobs.start(job, title=f"Reading {path.name}", on_result=show)


def load(session: Session, series: SeriesInfo, time_source: str | None = None) -> bool:
    """Load a series, its phases ordered by the DICOM keyword `time_source` if one is given."""
    from napari_cardioseg.io import load_cine

    return session.jobs.start(
        load_cine(series, time_source=time_source),
        title=f"Loading {series.description or 'the series'}",
        on_result=lambda cine: _show(session, Found(series=series, cine=cine)),
    )


def reopen(
    session: Session,
    path: str | Path,
    source: str | Path | None = None,
    *,
    ask_source: Callable[[SavedLabels], str] | None = None,
) -> bool:
    """Read saved labels and show them on their cine: the open one, or the one they were drawn on.

    Parameters
    ----------
    session : Session
    path : path
        The file of labels.
    source : path, optional
        Where the images are, if not where they were when the labels were saved.
    ask_source : callable, optional
        Asks the user for the images' folder where they have moved; an empty answer gives up.
    """

    def show(found: Found) -> None:
        if found.cine is None and found.saved is not None and ask_source is not None:
            moved_to.append(ask_source(found.saved))
        else:
            _show(session, found)

    def go_on(_succeeded: bool) -> None:
        if moved_to and moved_to[0]:
            reopen(session, path, moved_to[0])

    moved_to: list[str] = []
    if session.jobs.is_busy:
        return False
    session.jobs.when_ended(go_on)
    job = _reopen(Path(path), source, session.cine)
    return session.jobs.start(job, title=f"Reopening {Path(path).name}", on_result=show)


def open_contours(session: Session, folder: str | Path) -> bool:
    """Show contours in the Sunnybrook text form as masks of the open cine; False if none is open."""
    cine = session.cine
    if cine is None:
        session.tell("Open the cine first that the contours were drawn on.", "warning")
        return False
    return session.jobs.start(
        _contours(Path(folder), cine),
        title=f"Reading the contours in {Path(folder).name}",
        on_result=lambda found: _show(session, found),
    )


def _contours(folder: Path, cine: Cine) -> Job[Found]:
    from napari_cardioseg.io.contours import read_contours

    yield Progress(0, 0, f"Reading {folder.name}")
    segmentation, _ = read_contours(folder, cine)
    return Found(cine=cine, segmentation=segmentation)


def is_nifti(path: str | Path) -> bool:
    """Whether a path is called like a NIfTI file."""
    return str(path).lower().endswith((".nii", ".nii.gz"))


def _is_saved_labels(path: Path) -> bool:
    from napari_cardioseg.io.saved_labels import read_saved_labels

    try:
        return read_saved_labels(path).is_ours
    except DataError:
        return False  # an image then, of which the scan will tell more


def _open(path: Path, load_first: bool, open_cine: Cine | None) -> Job[Found]:
    from napari_cardioseg.io import load_cine, scan

    if is_nifti(path):
        yield Progress(0, 0, f"Reading {path.name}")
        if _is_saved_labels(path):
            return (yield from _reopen(path, None, open_cine))
    found = yield from scan(path)
    if not found.series:
        return Found(found, problem=_in_short(found.problems) or f"{path} holds no images.")
    usable = [one for one in found.series if not one.problem]
    cines = [one for one in usable if one.is_short_axis_cine]
    candidates = cines or usable
    clear = open_cine is None and len(candidates) == 1
    if not candidates or not (clear or load_first):
        return Found(found)
    first = candidates[0]
    try:
        cine = yield from load_cine(first)
    except CardioSegError as error:  # what else was found is to be shown nevertheless
        return Found(found, problem=str(error))
    return Found(found, first, cine)


def _reopen(path: Path, source: str | Path | None, open_cine: Cine | None) -> Job[Found]:
    from napari_cardioseg.io import load_cine, scan
    from napari_cardioseg.io.saved_labels import read_saved_labels

    yield Progress(0, 0, f"Reading {path.name}")
    saved = read_saved_labels(path)
    if open_cine is not None and source is None and _fits(saved, open_cine):
        return Found(cine=open_cine, segmentation=saved.segmentation, saved=saved)
    if not saved.is_ours and source is None:
        raise DataError(f"{path.name} does not say where its images are. Open the cine first, then it.")
    source = source or saved.source
    if not source or not Path(source).exists():
        lost = f"The images of {path.name} are no longer at {source or 'a known place'}."
        return Found(saved=saved, problem=lost)
    found = yield from scan(source)
    for series in _candidates(saved, found.series):
        ordered_by = saved.time_source if saved.time_source in series.time_sources else None
        cine = yield from load_cine(series, time_source=ordered_by)
        if _fits(saved, cine):
            return Found(found, series, cine, saved.segmentation, saved)
    raise DataError(f"The series that {path.name} was drawn on is not in {source}; choose another folder.")


def _in_short(problems: Sequence[str]) -> str:
    rest = f" {len(problems) - 1} more could not be read." if len(problems) > 1 else ""
    return f"{problems[0]}{rest}" if problems else ""


def _invitation(scan: ScanResult) -> tuple[str, str]:
    """Say what is to be done with a list of which nothing was opened."""
    usable = sum(not one.problem for one in scan.series)
    if usable == 0:
        return "Nothing of this can be opened; the Data section says why.", "warning"
    if usable == 1:
        return "One series found. Open it in the Data section.", "info"
    return f"{usable} series found. Choose one in the Data section and open it.", "info"


def _candidates(saved: SavedLabels, series: Iterable[SeriesInfo]) -> list[SeriesInfo]:
    """Series of the right size, those with the UID of the labels first."""
    n_phases, n_slices, *matrix = saved.segmentation.labels.shape
    uid = saved.series_uid.partition("#")[0]
    alike = [
        one
        for one in series
        if not one.problem and (one.n_phases, one.n_slices, *one.matrix) == (n_phases, n_slices, *matrix)
    ]
    return sorted(alike, key=lambda one: one.uid.partition("#")[0] != uid)


def _fits(saved: SavedLabels, cine: Cine) -> bool:
    try:
        saved.fit_to(cine)
    except DataError:
        return False
    return True


def _show(session: Session, found: Found) -> None:
    if found.scan is not None and (found.scan.series or session.cine is None):
        session.scan = found.scan
        session.scanned.emit()
    if found.problem:
        session.tell(found.problem, "error")
    if found.cine is None:
        if found.scan is not None and found.scan.series and not found.problem:
            session.tell(*_invitation(found.scan))
        return
    series = found.series or (session.series if found.cine is session.cine else None)
    session.show(found.cine, found.segmentation, series)
    remarks = " ".join(found.cine.warnings)
    if remarks:
        session.tell(remarks, "notice")
    if found.saved is not None:
        session.saved_to = found.saved.path
        session.tell(f"Reopened {Path(found.saved.path).name}.")
    session.marked.emit()
