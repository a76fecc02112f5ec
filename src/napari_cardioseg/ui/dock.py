"""The dock: Data, Segment, Correct and Save from top to bottom, or each by itself."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_cardioseg.ui.asking import WindowGuard
from napari_cardioseg.ui.correct_panel import CorrectPanel
from napari_cardioseg.ui.data_panel import DataPanel
from napari_cardioseg.ui.help_overlay import HelpOverlay
from napari_cardioseg.ui.job_bar import JobBar
from napari_cardioseg.ui.save_panel import SavePanel
from napari_cardioseg.ui.segment_panel import SegmentPanel
from napari_cardioseg.ui.session import Session, session_of
from napari_cardioseg.ui.watching import watch

DOCK_WIDTH = 410
_STYLE = """
#cardioseg-main { background: #3d6fb0; color: white; font-weight: bold; padding: 6px; }
#cardioseg-main:hover { background: #4a80c6; }
#cardioseg-main:disabled { background: #3a4047; color: #868c94; }
#cardioseg-quiet { color: #9aa3ad; }
#cardioseg-warnings { color: #e0a23c; }
#cardioseg-state { font-weight: bold; }
QToolButton { padding: 4px 5px; border-radius: 2px; background: #414851; }
QToolButton:hover { background: #5a626c; }
QToolButton:checked { background: #3d6fb0; color: white; }
"""


class _Dock(QWidget):
    """What all our docks have in common: a session, the job bar below, the help, the guard."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.session: Session = session_of(napari_viewer)
        self.setStyleSheet(_STYLE)
        self.setMinimumWidth(320)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._scroll, 1)
        column.addWidget(JobBar(self.session))
        watch(self, self.session.help_wanted, self._on_help)

    def showEvent(self, event: QShowEvent | None) -> None:  # Qt's name
        """Begin to watch over the window that this has become a part of."""
        super().showEvent(event)
        WindowGuard.watch_over(self.session, self.window())

    def _on_help(self) -> None:
        centre = getattr(self.window(), "centralWidget", lambda: None)()
        if centre is None:
            return
        overlay = centre.findChild(HelpOverlay) or HelpOverlay(centre)
        # Several docks may hear the same wish; only the first visible one answers.
        docks = [dock for dock in self.window().findChildren(_Dock) if dock.session is self.session]
        if docks and docks[0] is self:
            overlay.toggle()


class CardioSegDock(_Dock):
    """All sections, one below the other."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        panels = {
            "Data": DataPanel(self.session),
            "Segment": SegmentPanel(self.session),
            "Correct": CorrectPanel(self.session),
            "Save": SavePanel(self.session),
        }
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(4, 2, 4, 2)
        column.setSpacing(2)
        self._sections = {title: _section(title, panel) for title, panel in panels.items()}
        for section in self._sections.values():
            column.addWidget(section)
        column.addStretch(1)
        self._scroll.setWidget(inside)
        watch(self, self.session.marked, self._on_marked)

    def _on_marked(self) -> None:
        mark = "  ●" if self.session.has_unsaved_changes else ""
        self._sections["Save"].setText(f"Save{mark}")


class _SectionDock(_Dock):
    """One section by itself."""

    panel: type[QWidget]

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._scroll.setWidget(self.panel(self.session))


class DataDock(_SectionDock):
    """The Data section by itself."""

    panel = DataPanel


class SegmentDock(_SectionDock):
    """The Segment section by itself."""

    panel = SegmentPanel


class CorrectDock(_SectionDock):
    """The Correct section by itself."""

    panel = CorrectPanel


class SaveDock(_SectionDock):
    """The Save section by itself."""

    panel = SavePanel


def _section(title: str, panel: QWidget) -> QCollapsible:
    section = QCollapsible(title)
    section.setDuration(0)
    section.layout().setContentsMargins(0, 0, 0, 0)
    section.content().layout().setContentsMargins(0, 0, 0, 0)
    section.addWidget(panel)
    section.expand(animate=False)
    section.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    return section
