"""The section in which a model is chosen and run."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_cardioseg.domain import ModelError
from napari_cardioseg.ui.segmenting import Request, Scope, segment
from napari_cardioseg.ui.session import Session
from napari_cardioseg.ui.watching import button, quiet, watch

_FROM_FILE = "Open model file…"
_DEVICE_NAMES = {
    "auto": "automatic",
    "cpu": "CPU",
    "cuda": "GPU (CUDA)",
    "mps": "GPU (Apple)",
}
_SCOPE_NAMES = {
    Scope.CINE: "Whole cine",
    Scope.ED_ES: "End-diastole and end-systole",
    Scope.PHASE: "This phase, all slices",
    Scope.SLICE: "This slice",
}


class DeviceCombo(QComboBox):
    """Offers the devices of this machine; PyTorch is asked for them only when the list is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.addItem(_DEVICE_NAMES["auto"], "auto")
        self.setToolTip("Where to compute: automatic takes the graphics card if there is one")

    def showPopup(self) -> None:  # Qt's name
        """Fill the list on its first opening."""
        if self.count() == 1:
            from napari_cardioseg.predict import available_devices

            for device in available_devices():
                self.addItem(_DEVICE_NAMES.get(device, device), device)
        super().showPopup()


class SegmentPanel(QWidget):
    """Choose a model and what it is to segment, and run it in the background."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._model = QComboBox()
        self._model.activated.connect(self._on_model)
        self._device = DeviceCombo()
        self._scope = QComboBox()
        self._scope.setToolTip(
            "Which slices the model is to segment; those you edited or accepted stay yours"
        )
        for scope, name in _SCOPE_NAMES.items():
            self._scope.addItem(name, scope)
        for combo in (self._model, self._scope, self._device):
            combo.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            combo.setMinimumContentsLength(8)
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._tta = _check(
            "Average views", "Test-time augmentation: each image is also shown turned and enlarged; slower"
        )
        self._clean = _check("Clean up", "Keep one heart, close holes and drop islands far from it")
        self._run = button("Segment", self._on_run, "Slices that you edited or accepted are left as they are")
        self._run.setObjectName("cardioseg-main")
        self._lay_out()
        for signal in (session.opened, session.jobs.started, session.jobs.ended):
            watch(self, signal, self._on_changed)
        self._list_models()
        self._on_changed()

    @property
    def request(self) -> Request:
        """What the panel asks for now."""
        return Request(
            model=str(self._model.currentData()),
            scope=self._scope.currentData(),
            device=self._device.currentData(),
            tta=self._tta.isChecked(),
            clean_up=self._clean.isChecked(),
        )

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Model", self._model)
        form.addRow("Segment", self._scope)
        form.addRow("Compute on", self._device)
        options = QHBoxLayout()
        options.addWidget(self._tta)
        options.addWidget(self._clean)
        options.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 2, 4, 6)
        column.addLayout(form)
        column.addLayout(options)
        column.addWidget(self._run)

    def _list_models(self) -> None:
        from napari_cardioseg.store.models import list_models

        try:
            entries = list_models()
        except ModelError as error:
            self._session.tell(str(error), "error")
            entries = []
        for place, entry in enumerate(entries):
            self._model.addItem(entry.name, entry.name)
            self._model.setItemData(place, entry.card.description, Qt.ItemDataRole.ToolTipRole)
        self._model.addItem(_FROM_FILE)
        self._chosen = 0 if entries else -1
        self._show_chosen()

    def _on_model(self, index: int) -> None:
        if self._model.itemText(index) == _FROM_FILE:
            self._add_file()
        else:
            self._chosen = index
        self._show_chosen()

    def _add_file(self) -> None:
        from napari_cardioseg.store.models import SUFFIX, read_card

        path, _ = QFileDialog.getOpenFileName(self, "Open a model file", filter=f"Models (*{SUFFIX})")
        if not path:
            return
        try:
            card = read_card(Path(path))
        except ModelError as error:
            self._session.tell(str(error), "error")
            return
        self._chosen = self._model.count() - 1
        self._model.insertItem(self._chosen, f"{card.name} ({Path(path).name})", path)
        self._model.setItemData(self._chosen, card.description, Qt.ItemDataRole.ToolTipRole)

    def _show_chosen(self) -> None:
        with quiet(self._model):
            self._model.setCurrentIndex(self._chosen)
        about = self._model.itemData(self._chosen, Qt.ItemDataRole.ToolTipRole)
        self._model.setToolTip(about or "The model that is to segment")
        self._on_changed()

    def _on_run(self) -> None:
        segment(self._session, self.request)

    def _on_changed(self) -> None:
        ready = self._session.cine is not None and not self._session.jobs.is_busy
        self._run.setEnabled(ready and self._model.currentData() is not None)


def _check(text: str, tip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setToolTip(tip)
    box.setChecked(True)
    box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return box
