"""The section in which masks are saved and reopened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QGridLayout, QVBoxLayout, QWidget

from napari_cardioseg.ui import opening, saving
from napari_cardioseg.ui.asking import LABEL_FILES, ask_label_file, may_replace
from napari_cardioseg.ui.session import Session
from napari_cardioseg.ui.watching import button, sentence_label, watch

if TYPE_CHECKING:
    from napari_cardioseg.io.saved_labels import SavedLabels


class SavePanel(QWidget):
    """Save labels or contours, and reopen labels with their cine."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._labels = button(
            "Save labels…",
            self._on_labels,
            "One NIfTI file: masks, states of all slices, and the source",
        )
        self._contours = button(
            "Save contours…", self._on_contours, "Outlines as text files in the form of the Sunnybrook data"
        )
        self._reopen = button(
            "Reopen labels…", self._on_reopen, "Bring back saved masks, their states and their cine"
        )
        self._drawn = button(
            "Open contours…",
            self._on_drawn,
            "Show a folder of outlines in the form of the Sunnybrook data as masks of the open cine",
        )
        self._state = sentence_label(name="cardioseg-quiet")
        grid = QGridLayout()
        grid.addWidget(self._labels, 0, 0)
        grid.addWidget(self._contours, 0, 1)
        grid.addWidget(self._reopen, 1, 0)
        grid.addWidget(self._drawn, 1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 2, 4, 6)
        column.addLayout(grid)
        column.addWidget(self._state)
        for signal in (session.opened, session.marked, session.jobs.started, session.jobs.ended):
            watch(self, signal, self._on_changed)
        self._on_changed()

    def _on_labels(self) -> None:
        path = ask_label_file(self._session, self)
        if path:
            saving.save_labels(self._session, path)

    def _on_contours(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the contours")
        if folder:
            saving.save_contours(self._session, folder)

    def _on_reopen(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Reopen saved labels", filter=LABEL_FILES)
        if path and may_replace(self._session, self, "opening others"):
            opening.reopen(self._session, path, ask_source=self._ask_source)

    def _on_drawn(self) -> None:
        if may_replace(self._session, self, "opening others"):
            folder = QFileDialog.getExistingDirectory(self, "Folder of the contours")
            if folder:
                opening.open_contours(self._session, folder)

    def _ask_source(self, saved: SavedLabels) -> str:
        title = f"Where are the images of {Path(saved.path).name}? They are no longer at {saved.source}"
        return str(QFileDialog.getExistingDirectory(self, title))

    def _on_changed(self) -> None:
        session = self._session
        idle = not session.jobs.is_busy
        for made in (self._labels, self._contours, self._drawn):
            made.setEnabled(session.cine is not None and idle)
        self._reopen.setEnabled(idle)
        if session.link is None:
            text = ""
        elif session.has_unsaved_changes:
            text = "● Changes since the last save" if session.saved_to else "● Not saved yet"
        else:
            text = f"Saved in {session.saved_to}" if session.saved_to else "Nothing to save yet"
        self._state.setText(text)
