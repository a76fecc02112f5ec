"""Errors and warnings, as sentences, to napari's notifications."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_warning

from napari_cardioseg.domain import CardioSegError, Progress

if TYPE_CHECKING:
    from napari_cardioseg.ui.session import Session

_log = logging.getLogger("napari_cardioseg")


class Herald:
    """Brings a session's errors and warnings to napari's notifications; one a session.

    Whatever goes wrong ends here as a sentence; the window goes on.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        session.jobs.failed.connect(self._on_failed)
        session.jobs.progressed.connect(self._on_progress)
        session.told.connect(self._on_told)

    def _on_failed(self, error: Exception) -> None:
        self._session.tell(sentence_of(error), "error")

    def _on_progress(self, progress: Progress) -> None:
        if progress.note:
            self._session.tell(progress.note, "warning")

    def _on_told(self, sentence: str, level: str) -> None:
        if level == "error":
            show_error(sentence)
        elif level == "warning":
            show_warning(sentence)


def sentence_of(error: Exception) -> str:
    """Put an error into a sentence; what is not ours to explain goes to the log in full."""
    if isinstance(error, CardioSegError):
        return str(error)
    _log.error("Unexpected error", exc_info=error)
    cause = error.__cause__ or error
    return f"Something went wrong that this program did not foresee ({type(cause).__name__}: {cause})."
