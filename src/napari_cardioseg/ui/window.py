"""Opening the program: a napari window with the dock."""

from __future__ import annotations

from pathlib import Path

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QMainWindow

from napari_cardioseg.domain import Cine, Job, Progress
from napari_cardioseg.ui import opening
from napari_cardioseg.ui.dock import DOCK_WIDTH, CardioSegDock
from napari_cardioseg.ui.segmenting import Request, segment
from napari_cardioseg.ui.session import Session

WINDOW = (1560, 960)


def launch(path: str | Path | None = None, *, demo: bool = False) -> None:
    """Open the window and stay until it is closed.

    Parameters
    ----------
    path : path, optional
        A study to scan, whose first short-axis cine is then loaded, or saved labels to reopen.
    demo : bool
        Show the synthetic beating heart, segmented as soon as the window is there.
    """
    viewer, dock = open_window()
    if demo:
        show_demo(dock.session)
    elif path is not None:
        opening.open_path(dock.session, path, load_first=True)
    napari.run()
    del viewer


def open_window() -> tuple[napari.Viewer, CardioSegDock]:
    """Open a viewer with the dock, as large as the screen allows up to a comfortable size."""
    viewer = napari.Viewer(title="CardioSeg")
    dock = CardioSegDock(viewer)
    placed = viewer.window.add_dock_widget(dock, name="CardioSeg", area="right")
    window = dock.window()
    assert isinstance(window, QMainWindow)
    screen = QApplication.primaryScreen()
    if screen is not None:
        room = screen.availableGeometry()
        window.resize(min(WINDOW[0], room.width()), min(WINDOW[1], room.height()))
    window.resizeDocks([placed], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    return viewer, dock


def show_demo(session: Session) -> None:
    """Simulate the beating heart, segment it with the shipped model and play its beat."""
    from napari_cardioseg.store.models import DEFAULT_MODEL

    def then_segment(succeeded: bool) -> None:
        if succeeded and segment(session, Request(DEFAULT_MODEL)):
            session.jobs.when_ended(then_play)

    def then_play(succeeded: bool) -> None:
        if succeeded and not session.player.is_playing:
            session.player.toggle()

    session.jobs.when_ended(then_segment)
    session.jobs.start(_simulate(), title="Simulating a beating heart", on_result=session.show)


def _simulate() -> Job[Cine]:
    yield Progress(0, 0, "Simulating a beating heart")
    from napari_cardioseg.io.phantom import make_phantom

    return make_phantom().cine
