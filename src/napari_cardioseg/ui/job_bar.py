"""What is going on in the background, and the button that stops it."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from napari_cardioseg.domain import Progress
from napari_cardioseg.ui.session import Session
from napari_cardioseg.ui.watching import button, sentence_label, watch

_LEVEL_COLOURS = {"info": "#9fb4c9", "notice": "#e0a23c", "warning": "#e0a23c", "error": "#e57370"}


class JobBar(QWidget):
    """Shows the progress of a session's job with the time left and Cancel, and the last sentence told."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._job = QLabel()
        self._job.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # long names
        self._left = QLabel()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(10)
        self._cancel = button("Cancel", self._on_cancel, "Stop this; what is on the screen stays as it is")
        self._said = sentence_label(name="cardioseg-said")
        self._running = QWidget()
        self._lay_out()
        watch(self, session.jobs.started, self._on_started)
        watch(self, session.jobs.progressed, self._on_progress)
        watch(self, session.jobs.ended, self._on_ended)
        watch(self, session.told, self._on_told)
        self._running.setVisible(session.jobs.is_busy)
        self._said.hide()

    def _lay_out(self) -> None:
        words = QHBoxLayout()
        words.addWidget(self._job, 1)
        words.addWidget(self._left)
        progress = QHBoxLayout()
        progress.addWidget(self._bar, 1)
        progress.addWidget(self._cancel)
        running = QVBoxLayout(self._running)
        running.setContentsMargins(0, 0, 0, 0)
        running.setSpacing(2)
        running.addLayout(words)
        running.addLayout(progress)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 6)
        column.setSpacing(4)
        column.addWidget(self._running)
        column.addWidget(self._said)

    def _on_started(self, title: str) -> None:
        self._job.setText(f"{title} …")
        self._left.clear()
        self._bar.setRange(0, 0)
        self._cancel.setEnabled(True)
        self._said.hide()
        self._running.show()

    def _on_progress(self, progress: Progress, seconds: float | None) -> None:
        self._bar.setRange(0, progress.total)
        self._bar.setValue(progress.done)
        self._job.setText(progress.message or f"{self._session.jobs.title} …")
        self._left.setText("" if seconds is None else f"{_duration(seconds)} left")

    def _on_ended(self, succeeded: bool) -> None:
        self._running.hide()
        if not succeeded and self._session.jobs.was_cancelled:
            self._on_told(f"{self._session.jobs.title}: cancelled.", "info")

    def _on_cancel(self) -> None:
        self._cancel.setEnabled(False)
        self._job.setText("Cancelling …")
        self._left.clear()
        self._bar.setRange(0, 0)
        self._session.jobs.cancel()

    def _on_told(self, sentence: str, level: str) -> None:
        self._said.setStyleSheet(f"color: {_LEVEL_COLOURS[level]};")
        self._said.setText(sentence)
        self._said.show()


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min"
