"""The section in which a study is found, looked over and opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_cardioseg.ui import opening
from napari_cardioseg.ui.asking import may_replace
from napari_cardioseg.ui.grid_widget import SliceGrid
from napari_cardioseg.ui.series_table import fill_table, make_table
from napari_cardioseg.ui.session import Session
from napari_cardioseg.ui.watching import button, quiet, sentence_label, watch

if TYPE_CHECKING:
    from napari_cardioseg.io import SeriesInfo

_PROBLEMS_SHOWN = 12
_FILES = "Images (*.zip *.nii *.nii.gz *.dcm *.IMA);;All files (*)"


class DataPanel(QWidget):
    """Choose a folder or file, see which series it holds, and open one."""

    def __init__(self, session: Session, *, with_grid: bool = True) -> None:
        super().__init__()
        self._session = session
        self.setAcceptDrops(True)
        self._hint = sentence_label("Choose a study, or drop its folder here.")
        self._table = make_table()
        self._table.itemSelectionChanged.connect(self._on_selected)
        self._table.itemDoubleClicked.connect(self._on_open)
        self._open = button("Open series", self._on_open, "Load the chosen series into the viewer")
        self._order = QComboBox()
        self._order.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._order.setMinimumContentsLength(10)
        self._order.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._order.setToolTip("The DICOM tag that puts the images of a slice in order of time")
        self._order.activated.connect(self._on_order)
        self._order_label = QLabel("Phases ordered by")
        self._warnings = sentence_label(name="cardioseg-warnings")
        self._grid = SliceGrid(session) if with_grid else None
        self._problems = button("", self._on_problems, "Show which files, and why")
        self._problem_list = sentence_label()
        self._lay_out()
        watch(self, session.scanned, self._on_scanned)
        watch(self, session.opened, self._show_details)
        watch(self, session.jobs.started, self._on_busy)
        watch(self, session.jobs.ended, self._on_busy)
        self._on_scanned()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(button("Open folder…", self._on_folder, "A DICOM folder, with all its subfolders"))
        buttons.addWidget(
            button("Open file…", self._on_file, "A .zip of a study, NIfTI, one DICOM file, saved labels")
        )
        order = QHBoxLayout()
        order.addWidget(self._order_label)
        order.addWidget(self._order, 1)
        order.addWidget(self._open)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 2, 4, 6)
        column.addLayout(buttons)
        column.addWidget(self._hint)
        column.addWidget(self._table)
        column.addLayout(order)
        column.addWidget(self._warnings)
        if self._grid is not None:
            column.addWidget(self._grid)
        column.addWidget(self._problems)
        column.addWidget(self._problem_list)

    @property
    def _chosen(self) -> SeriesInfo | None:
        rows = {index.row() for index in self._table.selectedIndexes()}
        scan = self._session.scan
        return scan.series[rows.pop()] if scan is not None and len(rows) == 1 else None

    def _on_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a study")
        if folder:
            self._open_path(folder)

    def _on_file(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Open a study or saved labels", filter=_FILES)
        if file:
            self._open_path(file)

    def _open_path(self, path: str) -> None:
        if self._is_free() and (not opening.is_nifti(path) or may_replace(self._session, self)):
            opening.open_path(self._session, path)

    def _on_open(self) -> None:
        series = self._chosen
        if series is None or series.problem or not self._is_free():
            return
        if may_replace(self._session, self):
            opening.load(self._session, series)

    def _is_free(self) -> bool:
        """Whether something can be opened now; if not, say why, before anything is asked."""
        if self._session.jobs.is_busy:
            self._session.tell("Something is under way; wait for it or cancel it.", "warning")
        return not self._session.jobs.is_busy

    def _on_order(self) -> None:
        series = self._chosen or self._session.series
        shown = self._session.series
        source = self._order.currentData()
        if series is None or series != shown or self._session.cine is None:
            return
        if source != self._session.cine.time_source and may_replace(self._session, self):
            opening.load(self._session, series, source)
        else:
            self._show_details()

    def _on_scanned(self) -> None:
        scan = self._session.scan
        series = scan.series if scan is not None else ()
        usable = [row for row, one in enumerate(series) if not one.problem]
        with quiet(self._table):
            fill_table(self._table, series)
            if usable:
                self._table.selectRow(usable[0])
        self._table.setVisible(bool(series))
        self._open.setVisible(bool(series))
        self._hint.setVisible(not series)
        problems = scan.problems if scan is not None else ()
        self._problems.setVisible(bool(problems))
        count = "One thing" if len(problems) == 1 else f"{len(problems)} things"
        self._problems.setText(f"{count} could not be read ▸")
        more = len(problems) - _PROBLEMS_SHOWN
        shown = [*problems[:_PROBLEMS_SHOWN], *([f"… and {more} more."] if more > 0 else [])]
        self._problem_list.setText("\n".join(f"• {sentence}" for sentence in shown))
        self._problem_list.hide()
        if problems and not usable:
            self._on_problems()
        self._show_details()

    def _on_selected(self) -> None:
        self._show_details()

    def _on_problems(self) -> None:
        wanted = self._problem_list.isHidden()
        self._problem_list.setVisible(wanted)
        text = self._problems.text()
        self._problems.setText(text.replace("▸", "▾") if wanted else text.replace("▾", "▸"))

    def _on_busy(self) -> None:
        self._show_details()

    def _show_details(self) -> None:
        """Show what is known of the chosen series, or of the open cine where no series is chosen."""
        series, cine = self._chosen or self._session.series, self._session.cine
        is_open = cine is not None and (series is None or series == self._session.series)
        about = cine if is_open else series
        self._open.setEnabled(series is not None and not series.problem and not self._session.jobs.is_busy)
        self._open.setText("Reload" if is_open else "Open series")
        sentences = [] if about is None else [*about.warnings]
        if about is not None and about.time_is_guess:
            guess = f"The order in time is a guess, by {about.time_source}; play the beat to check it."
            sentences.insert(0, guess)
        if series is not None and series.problem:
            sentences.insert(0, series.problem)
        self._warnings.setText("\n".join(f"• {sentence}" for sentence in sentences))
        self._warnings.setVisible(bool(sentences))
        if self._grid is not None:
            self._grid.setVisible(is_open and cine is not None and not cine.is_complete)
        self._fill_order(series, is_open)

    def _fill_order(self, series: SeriesInfo | None, is_open: bool) -> None:
        cine = self._session.cine
        sources = series.time_sources if series is not None else ()
        current = cine.time_source if is_open and cine is not None else series.time_source if series else ""
        with quiet(self._order):
            self._order.clear()
            for source in dict.fromkeys((*sources, current)):
                self._order.addItem(source or "nothing", source)
            self._order.setCurrentIndex(self._order.findData(current))
        self._order.setEnabled(is_open and len(sources) > 1 and not self._session.jobs.is_busy)
        for part in (self._order, self._order_label):
            part.setVisible(bool(current))

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # Qt's name
        """Take folders and files."""
        data = None if event is None else event.mimeData()
        if event is not None and data is not None and data.hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # Qt's name
        """Open what was dropped."""
        data = None if event is None else event.mimeData()
        paths = [url.toLocalFile() for url in data.urls()] if data is not None else []
        if paths and Path(paths[0]).exists():
            self._open_path(paths[0])
