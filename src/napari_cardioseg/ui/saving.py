"""Saving a snapshot of the masks in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cardioseg.domain import Job, Progress

if TYPE_CHECKING:
    from napari_cardioseg.io.contours import WrittenContours
    from napari_cardioseg.ui.layer_link import LayerLink
    from napari_cardioseg.ui.session import Session


def save_labels(session: Session, path: str | Path) -> bool:
    """Save labels, states and where they came from into one NIfTI file.

    A failure changes nothing: the masks stay on the screen and count as unsaved.
    """
    from napari_cardioseg.io.saved_labels import save_labels as write

    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        path = path.with_name(path.name + ".nii.gz")
    cine, link = session.cine, session.link
    if cine is None or link is None:
        return False
    segmentation = link.snapshot()
    count = link.change_count

    def done(_result: object) -> None:
        _mark_saved(session, link, count, path)

    job = _writing(lambda: write(path, segmentation, cine), path)
    return session.jobs.start(job, title=f"Saving {path.name}", on_result=done)


def save_contours(session: Session, folder: str | Path) -> bool:
    """Save the outlines of the masks as contour files in the Sunnybrook form into a folder."""
    from napari_cardioseg.io.contours import write_contours as write

    folder = Path(folder)
    cine, link = session.cine, session.link
    if cine is None or link is None:
        return False
    segmentation = link.snapshot()

    def done(written: WrittenContours) -> None:
        words = f"{len(written.paths)} contours saved in {folder}."
        session.tell(" ".join((words, *written.warnings)), "notice" if written.warnings else "info")

    job = _writing(lambda: write(folder, segmentation, cine), folder)
    return session.jobs.start(job, title=f"Saving contours in {folder.name}", on_result=done)


def _writing(write: Callable[[], Any], path: Path) -> Job[Any]:
    yield Progress(0, 0, f"Writing {path.name}")
    return write()


def _mark_saved(session: Session, link: LayerLink, count: int, path: Path) -> None:
    link.mark_saved(count)
    if session.link is link:
        session.saved_to = str(path)
        session.marked.emit()
    session.tell(f"Saved {path}.")
