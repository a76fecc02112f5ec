"""Make the pictures of docs/ from the real window, with the phantom: never with patient data.

Run it where a display is, or under Xvfb:
`xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/screenshots.py`.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

# Neither read nor change the settings of whoever runs this.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(), "settings.yaml"))

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_cardioseg.domain import Progress
from napari_cardioseg.io.phantom import make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom
from napari_cardioseg.store.models import DEFAULT_MODEL
from napari_cardioseg.ui import commands, opening
from napari_cardioseg.ui.dock import CardioSegDock
from napari_cardioseg.ui.segmenting import Request, Scope, segment
from napari_cardioseg.ui.session import Session
from napari_cardioseg.ui.window import open_window

DOCS = Path(__file__).resolve().parent.parent / "docs"
LONGEST_JOB_S = 600
# What a transfer lost, so that the data picture shows how holes are told: (phase, slice).
LOST = ((6, 4), (7, 4))


def main() -> None:
    """Make every picture."""
    viewer, dock = open_window()
    session = dock.session
    with tempfile.TemporaryDirectory() as folder:
        _write_study(Path(folder))
        _data(dock, Path(folder))
    _segment(session)
    _review(session)
    _shoot(session, "window.png")
    commands.toggle_help(session)
    _shoot(session, "keys.png")
    commands.toggle_help(session)
    _outlines(session)
    session.close_cine()
    viewer.close()


def _write_study(folder: Path) -> None:
    """Write a study of two series: the short-axis cine with two images lost, and one short stack."""
    write_phantom_dicom(folder / "sax", make_phantom(), skip=LOST)
    scout = make_phantom(1, n_phases=2, n_slices=5, matrix=(128, 128), pixel_mm=2.8)
    write_phantom_dicom(folder / "scout", scout)
    (folder / "report.txt").write_text("not an image")


def _data(dock: CardioSegDock, folder: Path) -> None:
    opening.open_path(dock.session, folder, load_first=True)
    _wait(dock.session)
    dock.fold("Data", shut=False)
    _shoot(dock.session, "data.png")
    dock.fold("Data")


def _segment(session: Session) -> None:
    seen: list[Progress] = []
    session.jobs.progressed.connect(lambda progress, _seconds: seen.append(progress))
    segment(session, Request(DEFAULT_MODEL))
    while session.jobs.is_busy and not any(p.total > 0 and p.done > 0.4 * p.total for p in seen):
        _pause(0.05)
    _shoot(session, "segmenting.png")
    _wait(session)


def _review(session: Session) -> None:
    """Accept a phase and correct one slice, as a reader would have by then."""
    assert session.cine is not None
    for z in range(session.cine.n_slices):
        session.navigator.go_to((0, z))
        commands.toggle_accepted(session)
    session.navigator.go_to((1, 6))
    labels = session.labels
    assert labels is not None
    assert session.link is not None
    rows, columns = np.nonzero(labels.data[1, 6] == session.link.scheme.by_key("myo").value)
    lowest = int(rows.argmax())
    with labels.block_history():
        labels.paint((1, 6, int(rows[lowest]), int(columns[lowest])), 2)


def _outlines(session: Session) -> None:
    commands.toggle_outlines(session)
    segment(session, Request(DEFAULT_MODEL, Scope.ED_ES))
    _wait(session)
    _shoot(session, "outlines.png")


def _wait(session: Session) -> None:
    end = time.monotonic() + LONGEST_JOB_S
    while session.jobs.is_busy:
        _pause(0.05)
        if time.monotonic() > end:
            raise TimeoutError(f"{session.jobs.title} has not ended after {LONGEST_JOB_S} s.")


def _pause(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def _shoot(session: Session, name: str) -> None:
    _pause(0.3)
    session.viewer.screenshot(str(DOCS / name), canvas_only=False, flash=False)
    print(DOCS / name)


if __name__ == "__main__":
    main()
