"""The dock: Data, Segment, Correct and Save from top to bottom, or each by itself."""

from __future__ import annotations

from collections.abc import Callable

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap, QPolygon
from qtpy.QtWidgets import QFrame, QMainWindow, QScrollArea, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_cardioseg.domain import Cine
from napari_cardioseg.plugin.layer_data import name_of
from napari_cardioseg.ui.asking import WindowGuard
from napari_cardioseg.ui.correct_panel import CorrectPanel
from napari_cardioseg.ui.data_panel import DataPanel
from napari_cardioseg.ui.help_overlay import toggle_help
from napari_cardioseg.ui.job_bar import JobBar
from napari_cardioseg.ui.save_panel import SavePanel
from napari_cardioseg.ui.segment_panel import SegmentPanel
from napari_cardioseg.ui.session import Session, session_of
from napari_cardioseg.ui.watching import watch

DOCK_WIDTH = 420
_STYLE = """
#cardioseg-main { background: #3d6fb0; color: white; font-weight: bold; padding: 6px; }
#cardioseg-main:hover { background: #4a80c6; }
#cardioseg-main:disabled { background: #3a4047; color: #868c94; }
#cardioseg-quiet { color: #9aa3ad; }
#cardioseg-warnings { color: #e0a23c; }
QCollapsible > QPushButton { background: #333a44; color: #dfe4ea; font-weight: bold; padding: 4px 6px; }
QCollapsible > QPushButton:hover { background: #404957; }
QTableWidget, QHeaderView::section { font-size: 11px; }
QToolButton { padding: 4px 5px; border-radius: 2px; background: #414851; }
QToolButton:hover { background: #5a626c; }
QToolButton:checked { background: #3d6fb0; color: white; }
"""


class _Column(QScrollArea):
    """Scrolls up and down only; it is never narrower than what is in it can be."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Grow with the needs of what is inside."""
        inside = self.widget()
        if event is not None and event.type() == QEvent.Type.LayoutRequest and watched is inside:
            bar = self.verticalScrollBar()
            self.setMinimumWidth(inside.minimumSizeHint().width() + bar.sizeHint().width())
        return super().eventFilter(watched, event)


class _Dock(QWidget):
    """What all our docks have in common: a session, the job bar below, the help, the guard."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.session: Session = session_of(napari_viewer)
        self.setStyleSheet(_STYLE)
        self._scroll = _Column()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._scroll, 1)
        column.addWidget(JobBar(self.session))
        watch(self, self.session.help_wanted, self._on_help)
        watch(self, self.session.marked, self._on_marked)
        watch(self, self.session.jobs.started, self._guard)

    def _on_marked(self) -> None:
        self._guard()

    def _guard(self) -> None:
        # Not sooner: while napari builds its dock, this is not a part of the window yet.
        WindowGuard.watch_over(self.session, self.window())

    def _on_help(self) -> None:
        window = self.window()
        centre = window.centralWidget() if isinstance(window, QMainWindow) else None
        if not isinstance(window, QMainWindow) or centre is None:
            return
        # Several docks of a window may hear the same wish; only the first one answers.
        docks = [dock for dock in window.findChildren(_Dock) if dock.session is self.session]
        if docks and docks[0] is self:
            toggle_help(self.session, window)


class CardioSegDock(_Dock):
    """All sections, one below the other."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        panels = {
            "Data": DataPanel(self.session, with_grid=False),
            "Segment": SegmentPanel(self.session),
            "Correct": CorrectPanel(self.session),
            "Save": SavePanel(self.session),
        }
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(4, 2, 4, 2)
        column.setSpacing(2)
        self._named: Cine | None = None
        self._sections = {title: _section(title, panel) for title, panel in panels.items()}
        for section in self._sections.values():
            column.addWidget(section)
        column.addStretch(1)
        self._scroll.setWidget(inside)
        watch(self, self.session.scanned, self._on_scanned)
        watch(self, self.session.opened, self._on_opened)

    def fold(self, title: str, *, shut: bool = True) -> None:
        """Fold away the section called `title`, or open it."""
        section = self._sections[title]
        section.collapse(animate=False) if shut else section.expand(animate=False)

    def _on_scanned(self) -> None:
        self.fold("Data", shut=False)  # a list that nobody sees looks as if nothing had been found

    def _on_opened(self) -> None:
        """Name the cine; where not everything fits into the window, fold away what has done its work."""
        cine, data = self.session.cine, self._sections["Data"]
        if cine is None:
            data.setText("Data")
            data.expand(animate=False)
            return
        data.setText(f"Data:  {name_of(cine)}{'  ⚠' if cine.warnings else ''}")
        inside, seen = self._scroll.widget(), self._scroll.viewport()
        if cine is not self._named and inside is not None and seen is not None:
            self._named = cine
            if inside.sizeHint().height() > seen.height():
                data.collapse(animate=False)

    def _on_marked(self) -> None:
        super()._on_marked()
        mark = "  ●" if self.session.has_unsaved_changes else ""
        self._sections["Save"].setText(f"Save{mark}")


class _SectionDock(_Dock):
    """One section by itself."""

    panel: Callable[[Session], QWidget]

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._scroll.setWidget(type(self).panel(self.session))


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


def _triangle(*, points_down: bool) -> QIcon:
    """Draw the mark of an open or a folded section; superqt's own is black on our dark ground."""
    picture = QPixmap(16, 16)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor("#c3cad3"))
    corners = ((3, 5), (13, 5), (8, 12)) if points_down else ((5, 3), (12, 8), (5, 13))
    painter.drawPolygon(QPolygon([QPoint(*corner) for corner in corners]))
    painter.end()
    return QIcon(picture)


def _section(title: str, panel: QWidget) -> QCollapsible:
    section = QCollapsible(title)
    section.setDuration(0)
    section.setExpandedIcon(_triangle(points_down=True))
    section.setCollapsedIcon(_triangle(points_down=False))
    for layout in (section.layout(), section.content().layout()):
        if layout is not None:
            layout.setContentsMargins(0, 0, 0, 0)
    section.addWidget(panel)
    section.expand(animate=False)
    section.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    return section
