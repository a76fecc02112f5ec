"""A picture of the whole cine: one cell for every slice of every phase."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QPoint, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from napari_cardioseg.domain import SliceState
from napari_cardioseg.ui.commands import STATE_NAMES
from napari_cardioseg.ui.layer_link import Slice
from napari_cardioseg.ui.session import Session
from napari_cardioseg.ui.watching import watch

STATE_COLOURS = {
    SliceState.EMPTY: QColor("#4b5058"),
    SliceState.PREDICTED: QColor("#5b8fd0"),
    SliceState.EDITED: QColor("#e0a23c"),
    SliceState.ACCEPTED: QColor("#4fb06d"),
}
HOLE = QColor("#d9534f")
_LARGEST_CELL, _SMALLEST_CELL = 12.0, 3.0
_MARGIN_LEFT, _MARGIN_TOP = 22, 14


class SliceGrid(QWidget):
    """Slices (rows, the last one on top) by phases (columns), each in the colour of its state.

    A cell without an image is crossed out; a click shows that slice.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        watch(self, session.opened, self._on_opened)
        watch(self, session.marked, self._on_changed)
        watch(self, session.navigator.moved, self._on_changed)
        self._on_opened()

    def sizeHint(self) -> QSize:  # Qt's name
        """Ask for room for all slices at the width there is."""
        return QSize(220, _MARGIN_TOP + round(self._shape[1] * self._cell[1]) + 2)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Ask for the same height as `sizeHint`, at any width."""
        return QSize(120, self.sizeHint().height())

    @property
    def _shape(self) -> tuple[int, int]:
        cine = self._session.cine
        return (cine.n_phases, cine.n_slices) if cine is not None else (20, 1)

    @property
    def _cell(self) -> tuple[float, float]:
        """Width and height of a cell."""
        n_phases, n_slices = self._shape
        width = min(max((self.width() - _MARGIN_LEFT - 2) / n_phases, _SMALLEST_CELL), 2.5 * _LARGEST_CELL)
        return width, min(_LARGEST_CELL, max(160 / n_slices, 5.0))

    def _rect(self, at: Slice) -> QRectF:
        width, height = self._cell
        row = self._shape[1] - 1 - at[1]
        return QRectF(_MARGIN_LEFT + at[0] * width, _MARGIN_TOP + row * height, width - 1, height - 1)

    def _slice_at(self, point: QPoint) -> Slice | None:
        (n_phases, n_slices), (width, height) = self._shape, self._cell
        t = int((point.x() - _MARGIN_LEFT) // width)
        z = n_slices - 1 - int((point.y() - _MARGIN_TOP) // height)
        return (t, z) if 0 <= t < n_phases and 0 <= z < n_slices else None

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # Qt's name
        """Draw the cells, the marks of ED and ES, and a frame around the slice on display."""
        cine, link = self._session.cine, self._session.link
        if cine is None or link is None:
            return
        painter = QPainter(self)
        for t in range(cine.n_phases):
            for z in range(cine.n_slices):
                rect = self._rect((t, z))
                if cine.present[t, z]:
                    painter.fillRect(rect, STATE_COLOURS[SliceState(int(link.states[t, z]))])
                else:
                    _draw_hole(painter, rect)
        self._draw_margins(painter)
        at = self._session.navigator.position
        if at is not None:
            painter.setPen(QPen(QColor("white"), 2))
            painter.drawRect(self._rect(at).adjusted(-0.5, -0.5, 0.5, 0.5))

    def _draw_margins(self, painter: QPainter) -> None:
        n_phases, n_slices = self._shape
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        painter.setPen(self.palette().windowText().color())
        centre = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
        step = 1 if self._cell[1] >= 11 else 5
        for z in range(n_slices):
            if z % step == 0 or z == n_slices - 1:
                row = self._rect((0, z))
                painter.drawText(QRectF(0, row.top(), _MARGIN_LEFT - 5, row.height()), centre, str(z + 1))
        marks = {0: "1", n_phases - 1: str(n_phases)}
        if self._session.ed_es is not None:
            ed, es = self._session.ed_es
            marks |= {ed: "ED", es: "ES"}
        for t, text in marks.items():
            column = self._rect((t, 0))
            box = QRectF(column.center().x() - 12, 0, 24, _MARGIN_TOP - 1)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # Qt's name
        """Show the slice under the mouse."""
        at = None if event is None else self._slice_at(event.pos())
        if at is not None and self._session.cine is not None:
            self._session.player.stop()
            self._session.navigator.go_to(at)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # Qt's name
        """Follow the mouse while its button is held."""
        if event is not None and event.buttons():
            self.mousePressEvent(event)

    def event(self, event: QEvent | None) -> bool:
        """Name the slice under the mouse in a tooltip."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self._describe(self._slice_at(event.pos())), self)
            return True
        return super().event(event)

    def _describe(self, at: Slice | None) -> str:
        cine, link = self._session.cine, self._session.link
        if at is None or cine is None or link is None:
            return ""
        state = STATE_NAMES[SliceState(int(link.states[at]))] if cine.present[at] else "no image"
        return f"Slice {at[1] + 1}, phase {at[0] + 1}: {state}"

    def _on_opened(self) -> None:
        self.setVisible(self._session.cine is not None)
        self.updateGeometry()
        self.update()

    def _on_changed(self) -> None:
        self.update()


class GridLegend(QWidget):
    """Says what the colours of a `SliceGrid` mean."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(_MARGIN_LEFT, 0, 0, 0)
        row.setSpacing(10)
        for state, colour in STATE_COLOURS.items():
            row.addWidget(QLabel(f'<span style="color:{colour.name()}">■</span> {STATE_NAMES[state]}'))
        row.addStretch()


def _draw_hole(painter: QPainter, rect: QRectF) -> None:
    painter.setPen(QPen(HOLE, 1))
    painter.drawRect(rect.adjusted(0.5, 0.5, -0.5, -0.5))
    painter.drawLine(rect.topLeft(), rect.bottomRight())
    painter.drawLine(rect.topRight(), rect.bottomLeft())


def grid_with_legend(session: Session) -> QWidget:
    """Make a grid with its legend below."""
    box = QWidget()
    column = QVBoxLayout(box)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(3)
    column.addWidget(SliceGrid(session))
    column.addWidget(GridLegend())
    return box
