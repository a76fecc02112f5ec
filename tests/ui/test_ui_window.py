"""The real window, from a scanner's folder to reopened labels, as a reader would use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox, QScrollArea, QTableWidget, QToolButton

from napari_cardioseg.domain import Job, Progress, SliceState
from napari_cardioseg.io.phantom import Phantom, make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom
from napari_cardioseg.store.models import DEFAULT_MODEL
from napari_cardioseg.ui import launch, opening, saving
from napari_cardioseg.ui.asking import WindowGuard, ask_label_file
from napari_cardioseg.ui.dock import CardioSegDock, CorrectDock
from napari_cardioseg.ui.help_overlay import HelpOverlay
from napari_cardioseg.ui.segment_panel import SegmentPanel
from napari_cardioseg.ui.segmenting import Request, Scope, segment
from napari_cardioseg.ui.session import Session, session_of
from napari_cardioseg.ui.window import show_demo

pytestmark = pytest.mark.gui

OpenDock = Callable[[], CardioSegDock]
Finish = Callable[[Session], None]
HOLE = (2, 4)  # phase, slice


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(n_phases=4, n_slices=8, matrix=(96, 96), pixel_mm=3.0)


@pytest.fixture(scope="module")
def folder(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_phantom_dicom(folder, phantom, suffix="", skip=[HOLE])
    return folder


@pytest.fixture
def finish(qtbot: QtBot) -> Finish:
    def wait(session: Session) -> None:
        qtbot.waitUntil(lambda: not session.jobs.is_busy, timeout=120_000)

    return wait


@pytest.fixture
def open_dock(make_napari_viewer: Any) -> OpenDock:
    def make() -> CardioSegDock:
        viewer = make_napari_viewer(show=True)
        dock = CardioSegDock(viewer)
        viewer.window.add_dock_widget(dock, name="CardioSeg", area="right")
        viewer.window.resize(1500, 950)
        return dock

    return make


def canvas(session: Session) -> Any:
    return session.viewer.window._qt_viewer.canvas.native


def on_canvas(session: Session, y: int, x: int) -> QPoint:
    """Where a pixel of the image lies on the canvas."""
    assert session.image is not None
    position = session.navigator.position
    assert position is not None
    world = session.image.data_to_world((*position, y, x))[-2:]
    camera, size = session.viewer.scene.camera, canvas(session).size()
    offset = (np.array(world) - np.array(camera.center)[-2:]) * camera.zoom
    return QPoint(round(size.width() / 2 + offset[1]), round(size.height() / 2 + offset[0]))


def drag(session: Session, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Press, move and release the left button, as a hand does."""
    native = canvas(session)
    QTest.mouseMove(native, on_canvas(session, *start))
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=on_canvas(session, *start))
    for step in np.linspace(0, 1, 6)[1:]:
        y, x = (round(a + step * (b - a)) for a, b in zip(start, end, strict=True))
        QTest.mouseMove(native, on_canvas(session, y, x))
        QTest.qWait(5)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=on_canvas(session, *end))


def button(dock: CardioSegDock, text: str) -> QToolButton:
    return next(b for b in dock.findChildren(QToolButton) if b.text().startswith(text))


def test_from_a_scanners_folder_to_reopened_labels(
    folder: Path, tmp_path: Path, open_dock: OpenDock, finish: Finish
) -> None:
    dock = open_dock()
    session = dock.session
    opening.open_path(session, folder)
    finish(session)
    assert session.cine is not None
    assert session.cine.data.shape == (4, 8, 96, 96)
    assert not session.cine.present[HOLE]
    assert dock.findChildren(QTableWidget)[0].rowCount() == 1

    segment(session, Request("unet-sunnybrook", tta=False))
    finish(session)
    link = session.link
    assert link is not None
    predicted = link.states == SliceState.PREDICTED
    assert not predicted[HOLE]
    assert predicted.sum() == predicted.size - 1
    assert link.layer.data[0, 3].any()

    session.navigator.go_to((1, 3))
    before = link.layer.data.copy()
    button(dock, "myocardium").click()
    drag(session, (10, 10), (10, 30))
    changed = np.argwhere(before != link.layer.data)
    assert len(changed) > 10
    assert (changed[:, :2] == (1, 3)).all()
    assert (link.layer.data[1, 3, 10, 12:28] == 2).all()
    assert link.states[1, 3] == SliceState.EDITED

    QTest.keyClick(canvas(session), Qt.Key.Key_W)
    QTest.keyClick(canvas(session), Qt.Key.Key_Q)
    assert session.navigator.position == (1, 4)
    assert link.states[1, 4] == SliceState.ACCEPTED
    assert session.has_unsaved_changes

    path = tmp_path / "work.nii.gz"
    saving.save_labels(session, path)
    finish(session)
    assert not session.has_unsaved_changes

    other = open_dock().session
    opening.open_path(other, path)
    finish(other)
    assert other is not session
    assert other.link is not None
    assert other.cine is not None
    np.testing.assert_array_equal(other.link.layer.data, link.layer.data)
    np.testing.assert_array_equal(other.link.states, link.states)
    np.testing.assert_array_equal(other.cine.data, session.cine.data)
    assert not other.has_unsaved_changes


def test_strokes_made_while_a_model_runs_are_kept(
    phantom: Phantom, open_dock: OpenDock, finish: Finish, qtbot: QtBot
) -> None:
    session = open_dock().session
    session.show(phantom.cine)
    session.navigator.go_to((0, 3))
    assert segment(session, Request("unet-sunnybrook", scope=Scope.PHASE, tta=False))
    drag(session, (10, 10), (10, 30))
    assert session.jobs.is_busy
    finish(session)
    assert session.link is not None
    assert session.link.states[0].tolist() == [1, 1, 1, 2, 1, 1, 1, 1]
    assert set(np.unique(session.link.layer.data[0, 3])) == {0, 1}
    assert session.link.layer.data[0, 3].sum() < 500


def test_a_model_that_cannot_be_read_is_told_and_harms_nothing(
    phantom: Phantom,
    tmp_path: Path,
    open_dock: OpenDock,
    finish: Finish,
) -> None:
    session = open_dock().session
    session.show(phantom.cine)
    told: list[tuple[str, str]] = []
    session.told.connect(lambda sentence, level: told.append((level, sentence)))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model")
    segment(session, Request(str(broken)))
    finish(session)
    assert [level for level, _ in told] == ["error"]
    assert "broken.safetensors" in told[0][1]
    assert session.link is not None
    assert not session.link.layer.data.any()


def test_a_failed_save_keeps_the_work_and_says_why(
    phantom: Phantom,
    tmp_path: Path,
    open_dock: OpenDock,
    finish: Finish,
) -> None:
    session = open_dock().session
    session.show(phantom.cine, phantom.truth)
    assert session.link is not None
    session.link.toggle_accepted((0, 0))
    told: list[str] = []
    session.told.connect(lambda sentence, _level: told.append(sentence))
    saving.save_labels(session, tmp_path / "nowhere" / "work.nii.gz")
    finish(session)
    assert "nowhere" in told[-1]
    assert session.has_unsaved_changes


def test_a_section_by_itself_shows_the_same_session(phantom: Phantom, open_dock: OpenDock) -> None:
    dock = open_dock()
    alone = CorrectDock(dock.session.viewer)
    dock.session.viewer.window.add_dock_widget(alone, name="CardioSeg Correct")
    assert alone.session is dock.session is session_of(dock.session.viewer)
    dock.session.show(phantom.cine)
    button(dock, "myocardium").click()
    assert button(alone, "myocardium").isChecked()
    button(alone, "Eraser").click()
    assert dock.session.labels is not None
    assert dock.session.labels.mode == "erase"
    assert button(dock, "Eraser").isChecked()


def test_the_help_comes_and_goes(phantom: Phantom, open_dock: OpenDock) -> None:
    dock = open_dock()
    dock.session.show(phantom.cine)
    window = dock.window()
    window.resize(1300, 720)  # the images are now narrower than the list of keys
    QTest.keyClick(canvas(dock.session), Qt.Key.Key_H)
    (overlay,) = window.findChildren(HelpOverlay)
    assert window.rect().contains(overlay.geometry())
    assert overlay.width() >= overlay.minimumSizeHint().width()
    QTest.keyClick(dock.findChildren(QScrollArea)[0], Qt.Key.Key_H)  # keys work from the dock, too
    assert not window.findChildren(HelpOverlay)


def test_closing_the_window_asks_about_unsaved_masks(
    phantom: Phantom, open_dock: OpenDock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = open_dock()
    session, window = dock.session, dock.window()
    session.show(phantom.cine)
    assert window.findChild(WindowGuard) is not None
    asked: list[str] = []

    def answer(_parent: object, _title: str, text: str, *_: object) -> QMessageBox.StandardButton:
        asked.append(text)
        return QMessageBox.StandardButton.Cancel

    monkeypatch.setattr(QMessageBox, "question", answer)
    assert session.link is not None
    session.link.toggle_accepted((0, 0))
    window.close()
    assert window.isVisible()
    assert len(asked) == 1


def test_nothing_is_asked_about_another_series_while_a_job_runs(
    phantom: Phantom, folder: Path, open_dock: OpenDock, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = open_dock()
    session = dock.session
    opening.open_path(session, folder)
    finish(session)
    assert session.link is not None
    session.link.toggle_accepted((0, 0))
    asked, told = [], []
    monkeypatch.setattr(QMessageBox, "question", lambda *words: asked.append(words))
    session.told.connect(lambda sentence, _level: told.append(sentence))

    def wait_for_ever() -> Job[None]:
        while True:
            yield Progress(0, 0, "Waiting")

    session.jobs.start(wait_for_ever(), title="Waiting", on_result=lambda _: None)
    table = dock.findChildren(QTableWidget)[0]
    table.itemDoubleClicked.emit(table.item(0, 0))
    session.jobs.cancel()
    finish(session)
    assert told[0].startswith("Something is under way")
    assert not asked


def test_the_file_to_save_in_is_named_after_patient_and_series(
    phantom: Phantom, open_dock: OpenDock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = open_dock()
    proposed: list[str] = []

    def refuse(_parent: object, _title: str, proposal: str, _filter: str) -> tuple[str, str]:
        proposed.append(Path(proposal).name)
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", refuse)
    for words in ({}, {"description": ""}, {"description": "", "patient_id": ""}):
        dock.session.show(dataclasses.replace(phantom.cine, **words))
        ask_label_file(dock.session, dock)
    assert proposed == [
        "PHANTOM_SAX_cine_phantom_masks.nii.gz",
        "PHANTOM_masks.nii.gz",
        "cine_masks.nii.gz",
    ]


def test_the_shipped_model_is_what_the_panel_offers_first(open_dock: OpenDock) -> None:
    panel = open_dock().findChildren(SegmentPanel)[0]
    assert panel.request == Request(DEFAULT_MODEL)


def test_the_program_opens_a_study_and_ends_its_jobs_with_the_window(
    folder: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, finish: Finish
) -> None:
    begun: list[bool] = []
    cleaned: list[bool] = []

    def endless() -> Job[None]:
        begun.append(True)
        try:
            while True:
                yield Progress(0, 0)
        finally:
            cleaned.append(True)

    def use_window() -> None:
        viewer = napari.current_viewer()
        assert viewer is not None
        session = session_of(viewer)
        finish(session)
        assert session.cine is not None
        session.jobs.start(endless(), title="for ever", on_result=print)
        qtbot.waitUntil(lambda: bool(begun))  # what has not begun has nothing to clean
        viewer.close()
        finish(session)

    monkeypatch.setattr(napari, "run", use_window)
    launch(folder)
    assert cleaned


def test_the_demo_is_segmented_and_beats(
    phantom: Phantom, open_dock: OpenDock, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    session = open_dock().session
    monkeypatch.setattr("napari_cardioseg.io.phantom.make_phantom", lambda: phantom)
    show_demo(session)
    qtbot.waitUntil(lambda: session.player.is_playing, timeout=180_000)
    assert session.link is not None
    assert (session.link.states == SliceState.PREDICTED).all()
    session.navigator.go_to((0, 3))
    qtbot.waitUntil(lambda: session.navigator.position not in (None, (0, 3)))
    drag(session, (10, 10), (10, 20))
    assert not session.player.is_playing
