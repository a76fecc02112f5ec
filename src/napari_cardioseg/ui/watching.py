"""Small helpers that the panels share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from psygnal import SignalInstance
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy, QToolButton, QWidget


def watch(widget: QWidget, signal: SignalInstance, slot: Callable[..., Any]) -> None:
    """Call `slot` at every `signal` for as long as `widget` exists."""
    signal.connect(slot)

    def unwatch(*_: object) -> None:
        with suppress(ValueError):
            signal.disconnect(slot)

    widget.destroyed.connect(unwatch)


@contextmanager
def quiet(widget: QWidget) -> Iterator[None]:
    """Change a widget without its telling of it."""
    before = widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(before)


def sentence_label(text: str = "", *, name: str = "") -> QLabel:
    """Make a label that wraps its text and can be copied from."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setObjectName(name)
    return label


def button(text: str, run: Callable[[], Any], tip: str = "") -> QPushButton:
    """Make a push button that leaves the keyboard to the viewer."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.clicked.connect(lambda _checked=False: run())
    return made


def tool_button(text: str, run: Callable[[], Any], tip: str = "", *, checkable: bool = False) -> QToolButton:
    """Make a small button that leaves the keyboard to the viewer."""
    made = QToolButton()
    made.setText(text)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    made.clicked.connect(lambda _checked=False: run())
    return made
