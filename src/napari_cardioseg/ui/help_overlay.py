"""The list of keys, laid over the images."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QMainWindow, QVBoxLayout, QWidget

from napari_cardioseg.ui.keymap import CLASS_KEYS, DRAW, JUDGE, KEYMAP, MOVE, NAPARI_KEYS, VIEW
from napari_cardioseg.ui.session import Session

_COLUMNS = ((MOVE, VIEW), (DRAW, JUDGE))
_HINT = (
    "Press H, or click here, to close. Dragging the brush with the right button draws and fills an outline."
)
_STYLE = """
#cardioseg-help { background: rgba(20, 23, 28, 240); border: 1px solid #5b8fd0; border-radius: 8px; }
#cardioseg-help QLabel { color: #e8ebef; background: transparent; font-size: 13px; }
#cardioseg-help QLabel[kind="title"] { color: #8fb8ec; font-weight: bold; padding-top: 6px; }
#cardioseg-help QLabel[kind="hint"] { color: #a9b2bd; font-size: 11px; padding-top: 6px; }
#cardioseg-help QLabel[kind="key"] {
    background: #343a44; border: 1px solid #59616e; border-radius: 4px; padding: 1px 7px; font-weight: bold;
}
"""


class HelpOverlay(QWidget):
    """All keys in groups; a click or the key hides it. It stays over the images, but all in the window."""

    def __init__(self, session: Session, parent: QMainWindow) -> None:
        super().__init__(parent)
        self.setObjectName("cardioseg-help")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet(_STYLE)
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 8, 22, 12)
        column.addLayout(_table(key_rows(session)))
        column.addWidget(_label(_HINT, "hint"))
        parent.installEventFilter(self)
        self._centre()
        self.show()
        self.raise_()

    def mousePressEvent(self, _event: object) -> None:  # Qt's name
        """Go away."""
        self.close_down()

    def close_down(self) -> None:
        """Go away for good; the next wish makes a new one, which knows the classes of then."""
        self.hide()
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # Qt's name
        """Stay in place when the window changes its size."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._centre()
        return super().eventFilter(watched, event)

    def _centre(self) -> None:
        window = self.parentWidget()
        images = window.centralWidget() if isinstance(window, QMainWindow) else None
        if window is not None and images is not None:
            self.adjustSize()
            place = self.rect()
            place.moveCenter(images.geometry().center())
            room = window.width() - self.width(), window.height() - self.height()
            self.move(max(min(place.x(), room[0]), 0), max(min(place.y(), room[1]), 0))


def toggle_help(session: Session, parent: QMainWindow) -> None:
    """Lay the list of keys over a window, or take it away."""
    shown = parent.findChildren(HelpOverlay)
    for overlay in shown:
        overlay.close_down()
    if not shown:
        HelpOverlay(session, parent)


def key_rows(session: Session) -> list[tuple[str, str, str]]:
    """List every key with its text and group; class keys bear the names of the session's classes."""
    names = [c.name for c in session.link.scheme] if session.link is not None else []
    of_class = dict(zip(CLASS_KEYS, names, strict=False))
    unused = set(CLASS_KEYS[len(names) :]) if names else set()
    ours = [(b.key, of_class.get(b.key, b.text), b.group) for b in KEYMAP if b.key not in unused]
    return ours + [(k.key, k.text, k.group) for k in NAPARI_KEYS]


def _table(rows: list[tuple[str, str, str]]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(5)
    grid.setColumnMinimumWidth(2, 26)
    for column, groups in enumerate(_COLUMNS):
        row = 0
        for group in groups:
            grid.addWidget(_label(group, "title"), row, 3 * column, 1, 2)
            for key, text, _ in (one for one in rows if one[2] == group):
                row += 1
                grid.addWidget(_label(key, "key"), row, 3 * column, Qt.AlignmentFlag.AlignRight)
                grid.addWidget(_label(text), row, 3 * column + 1)
            row += 1
    return grid


def _label(text: str, kind: str = "") -> QLabel:
    label = QLabel(text)
    label.setProperty("kind", kind)
    return label
