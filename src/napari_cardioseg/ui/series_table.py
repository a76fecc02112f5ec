"""The table of the series that a scan has found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from napari_cardioseg.io import SeriesInfo

_COLUMNS = ("Series", "Plane", "Slices ×\nphases", "Matrix", "Spacing\n(mm)")
_ROWS_SHOWN = 4


def make_table() -> QTableWidget:
    """Make an empty table of series."""
    table = QTableWidget(0, len(_COLUMNS))
    table.setHorizontalHeaderLabels(_COLUMNS)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setWordWrap(False)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    side, header = table.verticalHeader(), table.horizontalHeader()
    assert side is not None
    assert header is not None
    side.hide()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    header.setMinimumSectionSize(30)
    return table


def fill_table(table: QTableWidget, series: tuple[SeriesInfo, ...]) -> None:
    """Show one series a row, as high as a few rows; those that cannot be opened are greyed."""
    several_patients = len({one.patient_id for one in series}) > 1
    table.setRowCount(len(series))
    for row, one in enumerate(series):
        dz, dy, dx = one.spacing or (0.0, 0.0, 0.0)
        spacing = f"{dx:.2f} × {dy:.2f} × {dz:.3g}" if one.spacing else "unknown"
        cells = (
            _name(one, several_patients),
            one.plane,
            f"{one.n_slices} × {one.n_phases}",
            f"{one.matrix[1]} × {one.matrix[0]}",
            spacing,
        )
        for column, text in enumerate(cells):
            item = QTableWidgetItem(text)
            item.setToolTip(one.problem or "\n".join((f"{cells[0]} ({one.modality})", *one.warnings)))
            if one.problem:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            table.setItem(row, column, item)
    table.resizeRowsToContents()
    header = table.horizontalHeader()
    assert header is not None
    rows = sum(table.rowHeight(row) for row in range(min(len(series), _ROWS_SHOWN)))
    table.setFixedHeight(rows + header.sizeHint().height() + 6)


def _name(series: SeriesInfo, several_patients: bool) -> str:
    """Name a series by its description, and by the patient where that tells it from others."""
    words = [series.patient_id] if several_patients or not series.description else []
    return ", ".join(word for word in (*words, series.description) if word) or "no description"
