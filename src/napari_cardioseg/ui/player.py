"""Playing the beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari_cardioseg.ui.session import Session

FRAMES_PER_SECOND = 12


class Player:
    """Steps a session's viewer through the phases, round and round.

    Attributes
    ----------
    toggled : Signal(bool)
        Whether the beat plays now.
    """

    toggled = Signal(bool)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._timer = QTimer()
        self._timer.setInterval(1000 // FRAMES_PER_SECOND)
        self._timer.timeout.connect(self._step)

    @property
    def is_playing(self) -> bool:
        """Whether the beat plays."""
        return self._timer.isActive()

    def toggle(self) -> None:
        """Play, or stop."""
        if self.is_playing:
            self.stop()
        elif self._session.cine is not None and self._session.cine.n_phases > 1:
            self._timer.start()
            self.toggled.emit(True)

    def stop(self) -> None:
        """Stay at the phase on display."""
        if self.is_playing:
            self._timer.stop()
            self.toggled.emit(False)

    def _step(self) -> None:
        if self._session.is_alive:
            self._session.navigator.step_phase(1)
        else:
            self.stop()
