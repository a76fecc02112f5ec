"""The list of keys, laid over the images."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_cardioseg.ui.keymap import DRAW, JUDGE, KEYMAP, MOVE, NAPARI_KEYS, VIEW

_COLUMNS = ((MOVE, VIEW), (DRAW, JUDGE))
_STYLE = """
#cardioseg-help { background: rgba(20, 23, 28, 235); border: 1px solid #5b8fd0; border-radius: 8px; }
#cardioseg-help QLabel { color: #e8ebef; background: transparent; font-size: 13px; }
#cardioseg-help QLabel[kind="title"] { color: #8fb8ec; font-weight: bold; padding-top: 6px; }
#cardioseg-help QLabel[kind="key"] {
    background: #343a44; border: 1px solid #59616e; border-radius: 4px; padding: 1px 7px; font-weight: bold;
}
"""


class HelpOverlay(QWidget):
    """All keys in groups; a click or the key hides it. It stays in the middle of its parent."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("cardioseg-help")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet(_STYLE)
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 14, 22, 16)
        column.addWidget(_label("Keys", "title"))
        column.addLayout(_table())
        column.addWidget(
            _label("Press H, or click here, to close. Right-drag with the brush draws and fills an outline.")
        )
        parent.installEventFilter(self)
        self.hide()

    def toggle(self) -> None:
        """Show it, or hide it."""
        self.setVisible(self.isHidden())
        self._centre()
        self.raise_()

    def mousePressEvent(self, _event: object) -> None:  # Qt's name
        """Hide."""
        self.hide()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # Qt's name
        """Stay in the middle when the window changes its size."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._centre()
        return super().eventFilter(watched, event)

    def _centre(self) -> None:
        parent = self.parentWidget()
        if parent is not None:
            self.adjustSize()
            self.move((parent.width() - self.width()) // 2, max((parent.height() - self.height()) // 2, 0))


def _table() -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(5)
    for column, groups in enumerate(_COLUMNS):
        row = 0
        for group in groups:
            grid.addWidget(_label(group, "title"), row, 3 * column, 1, 2)
            row += 1
            for binding in (*KEYMAP, *NAPARI_KEYS):
                if binding.group == group:
                    grid.addWidget(_label(binding.key, "key"), row, 3 * column, Qt.AlignmentFlag.AlignRight)
                    grid.addWidget(_label(binding.text), row, 3 * column + 1)
                    row += 1
    grid.setColumnMinimumWidth(2, 26)
    return grid


def _label(text: str, kind: str = "") -> QLabel:
    label = QLabel(text)
    label.setProperty("kind", kind)
    return label
