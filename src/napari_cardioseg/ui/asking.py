"""Questions before work would be lost."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import QEvent, QEventLoop, QObject
from qtpy.QtWidgets import QFileDialog, QMainWindow, QMessageBox, QWidget

from napari_cardioseg.plugin.layer_data import name_of
from napari_cardioseg.ui.saving import save_labels
from napari_cardioseg.ui.session import Session

_Button = QMessageBox.StandardButton
LABEL_FILES = "Labels (*.nii.gz *.nii)"


def may_replace(session: Session, parent: QWidget, why: str = "opening another cine") -> bool:
    """Ask whether unsaved masks are to be saved first; True if what is open may then go."""
    if not session.has_unsaved_changes:
        return True
    answer = QMessageBox.question(
        parent,
        "Unsaved masks",
        f"The masks have changed since they were last saved. Save them before {why}?",
        _Button.Save | _Button.Discard | _Button.Cancel,
        _Button.Save,
    )
    if answer == _Button.Save:
        return _save_now(session, parent)
    return bool(answer == _Button.Discard)


def ask_label_file(session: Session, parent: QWidget) -> str:
    """Ask for the file to save labels in; empty if the user thinks better of it."""
    cine = session.cine
    words = re.findall(r"[\w-]+", name_of(cine) if cine is not None else "cine")
    proposal = session.saved_to or str(Path.home() / "_".join((*words, "masks.nii.gz")))
    path, _ = QFileDialog.getSaveFileName(parent, "Save labels", proposal, LABEL_FILES)
    return path


def _save_now(session: Session, parent: QWidget) -> bool:
    """Save and wait for it; whether nothing is unsaved afterwards."""
    path = ask_label_file(session, parent)
    if not path:
        return False
    if session.jobs.is_busy:
        session.tell("Something is under way; wait for it or cancel it, then save.", "warning")
        return False
    loop = QEventLoop()
    session.jobs.when_ended(lambda _succeeded: loop.quit())
    if save_labels(session, path):
        loop.exec()
    return not session.has_unsaved_changes


class WindowGuard(QObject):
    """Asks about unsaved masks before the user closes a session's window; one a window."""

    def __init__(self, session: Session, window: QMainWindow) -> None:
        super().__init__(window)
        self.setObjectName("cardioseg-guard")
        self._session = session
        self._window = window
        window.installEventFilter(self)

    @classmethod
    def watch_over(cls, session: Session, window: QWidget | None) -> None:
        """Guard a main window, unless it is guarded already."""
        if isinstance(window, QMainWindow) and window.findChild(cls, "cardioseg-guard") is None:
            cls(session, window)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # Qt's name
        """Hold the window open if the user wants to go on, else end the job under way."""
        if watched is self._window and event is not None and event.type() == QEvent.Type.Close:
            # A viewer closed by a script is emptied first, so that there is nothing left to ask about.
            if not may_replace(self._session, self._window, "closing the window"):
                event.ignore()
                return True
            self._session.jobs.cancel()
            self._session.player.stop()
        return False
