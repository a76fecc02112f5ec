"""The section in which masks are corrected and slices accepted."""

from __future__ import annotations

from functools import partial

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cardioseg.domain import LabelClass, SliceState
from napari_cardioseg.ui import commands
from napari_cardioseg.ui.grid_widget import grid_with_legend
from napari_cardioseg.ui.keymap import CLASS_KEYS, key_of
from napari_cardioseg.ui.session import Session
from napari_cardioseg.ui.watching import button, quiet, sentence_label, tool_button, watch

_TOOLS = (
    ("paint", "Brush", "P", "Paint the chosen class; drag with the right button to draw and fill an outline"),
    ("erase", "Eraser", "E", "Wipe masks away"),
    ("fill", "Fill", "F", "Click a region to give all of it the chosen class"),
    ("pan_zoom", "Pan", "Z", "Move and zoom the image; Space does so while it is held"),
)
_LARGEST_BRUSH = 60


class CorrectPanel(QWidget):
    """Classes, tools, steps through the cine, and what has been done so far."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._classes: dict[int, QToolButton] = {}
        self._class_row = QHBoxLayout()
        self._tools = {
            mode: tool_button(
                f"{name}  {key}", partial(commands.choose_tool, session, mode), tip, checkable=True
            )
            for mode, name, key, tip in _TOOLS
        }
        self._size = QSlider(Qt.Orientation.Horizontal)
        self._size.setRange(1, _LARGEST_BRUSH)
        self._size.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._size.setToolTip("Diameter of brush and eraser in pixels; keys [ and ]")
        self._size.valueChanged.connect(self._on_size)
        self._size_text = QLabel()
        self._size_text.setMinimumWidth(44)
        self._keys = self._step("Keys", commands.toggle_help, "Show the list of all keys")
        self._keys.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._play = self._step("▶ Play", commands.toggle_play, "Play the beat, or stop it")
        self._accept = button(
            "Accept slice",
            partial(commands.toggle_accepted, session),
            "This mask is right, or right to be empty: no model changes it again",
        )
        self._accept.setObjectName("cardioseg-main")
        self._release = button(
            "Release",
            partial(commands.release, session),
            "Let the next Segment replace the mask of this slice, although you edited or accepted it",
        )
        self._state = sentence_label(name="cardioseg-state")
        self._counts = sentence_label(name="cardioseg-quiet")
        self._lay_out()
        watch(self, session.opened, self._on_opened)
        watch(self, session.marked, self._on_marked)
        watch(self, session.navigator.moved, self._on_marked)
        watch(self, session.player.toggled, self._on_played)
        self._on_opened()

    def _step(self, text: str, command: commands.Command, tip: str = "") -> QToolButton:
        label = f"{text}  {key_of(command)}"
        return tool_button(label, partial(command, self._session), tip)

    def _lay_out(self) -> None:
        tools = QHBoxLayout()
        for tool in self._tools.values():
            tools.addWidget(tool)
        size = QHBoxLayout()
        size.addWidget(QLabel("Brush size"))
        size.addWidget(self._size, 1)
        size.addWidget(self._size_text)
        size.addWidget(self._keys)
        steps = QGridLayout()
        for place, part in enumerate(self._step_buttons()):
            steps.addWidget(part, place // 3, place % 3)
        judge = QHBoxLayout()
        judge.addWidget(self._accept, 2)
        clear = self._step("Clear", commands.clear_slice, "Wipe this slice: there is no ventricle on it")
        judge.addWidget(clear)
        judge.addWidget(self._release)
        judge.addWidget(button("Undo", partial(commands.undo, self._session), "Last change: Ctrl+Z"))
        judge.addWidget(button("Redo", partial(commands.redo, self._session), "Ctrl+Shift+Z"))
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 2, 4, 6)
        for row in (self._class_row, tools, size, steps):
            column.addLayout(row)
        column.addWidget(self._state)
        column.addLayout(judge)
        column.addWidget(grid_with_legend(self._session))
        column.addWidget(self._counts)

    def _step_buttons(self) -> tuple[QToolButton, ...]:
        return (
            self._step("◀ Phase", commands.previous_phase, "Previous phase of the beat"),
            self._step("Phase ▶", commands.next_phase, "Next phase of the beat"),
            self._play,
            self._step("▼ Slice", commands.previous_slice, "Previous slice: a row down in the grid"),
            self._step("Slice ▲", commands.next_slice, "Next slice: a row up in the grid"),
            self._step("Masks", commands.toggle_masks, "Show or hide the masks"),
            self._step("To review ▶", commands.next_to_review, "Next slice whose mask is not accepted yet"),
            self._step("Unsure ▶", commands.most_uncertain, "The slice of which the model is least sure"),
            self._step("Outlines", commands.toggle_outlines, "Show the masks filled, or as outlines"),
        )

    def _on_opened(self) -> None:
        link = self._session.link
        self.setEnabled(link is not None)
        for old in self._classes.values():
            self._class_row.removeWidget(old)
            old.hide()
            old.deleteLater()
        self._classes = {}
        if link is not None:
            for index, one in enumerate(link.scheme):
                made = self._class_button(index, one)
                self._classes[one.value] = made
                self._class_row.addWidget(made)
            events = link.layer.events
            events.selected_label.connect(self._on_layer)
            events.mode.connect(self._on_layer)
            events.brush_size.connect(self._on_layer)
        self._on_layer()
        self._on_marked()

    def _class_button(self, index: int, one: LabelClass) -> QToolButton:
        key = f"  {CLASS_KEYS[index]}" if index < len(CLASS_KEYS) else ""
        made = tool_button(
            f"{one.name}{key}",
            partial(commands.choose_class, self._session, index),
            f"Paint {one.name}",
            checkable=True,
        )
        swatch = QPixmap(12, 12)
        swatch.fill(QColor.fromRgbF(*one.colour))
        made.setIcon(QIcon(swatch))
        made.setIconSize(QSize(12, 12))
        made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        return made

    def _on_layer(self, _event: object = None) -> None:
        """Show which class and tool the layer has, whoever chose them."""
        labels, image = self._session.labels, self._session.image
        if labels is None or image is None:
            return
        for value, made in self._classes.items():
            made.setChecked(value == labels.selected_label)
        for mode, tool in self._tools.items():
            tool.setChecked(mode == str(labels.mode))
        with quiet(self._size):
            self._size.setValue(round(labels.brush_size))
        millimetres = labels.brush_size * float(image.scale[-1])
        unit = "mm" if str(image.units[-1]) == "millimeter" else "px"
        self._size_text.setText(f"{millimetres:.0f} {unit}")

    def _on_size(self, size: int) -> None:
        if self._session.labels is not None:
            self._session.labels.brush_size = size

    def _on_marked(self) -> None:
        link, at = self._session.link, self._session.navigator.position
        self._state.setText(commands.describe_slice(self._session))
        cine = self._session.cine
        if link is None or cine is None:
            self._counts.clear()
            return
        accepted = at is not None and link.states[at] == SliceState.ACCEPTED
        words = "Take back" if accepted else "Accept slice"
        self._accept.setText(f"{words}  {key_of(commands.toggle_accepted)}")
        self._accept.setEnabled(at is not None)
        self._release.setEnabled(at is not None and SliceState(int(link.states[at])).is_users)
        n_images = int(np.count_nonzero(cine.present))
        counts = {state: int(np.count_nonzero(link.states == state)) for state in SliceState}
        self._counts.setText(
            f"{counts[SliceState.ACCEPTED]} of {n_images} slices accepted, "
            f"{counts[SliceState.EDITED]} edited, {counts[SliceState.PREDICTED]} predicted"
        )

    def _on_played(self, playing: bool) -> None:
        text = "■ Stop" if playing else "▶ Play"
        self._play.setText(f"{text}  {key_of(commands.toggle_play)}")
