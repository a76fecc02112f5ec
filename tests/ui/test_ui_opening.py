"""Finding, loading and reopening, with jobs run on the spot; no window needed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cardioseg.domain import CardioSegError, Job, SliceState, drain
from napari_cardioseg.io.nifti import write_nifti_labels
from napari_cardioseg.io.phantom import make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom
from napari_cardioseg.ui import commands, opening, saving
from napari_cardioseg.ui.jobs import JobRunner
from napari_cardioseg.ui.session import Session, session_of

T = TypeVar("T")


def run_at_once(self: JobRunner, job: Job[T], *, title: str, on_result: Callable[[T], None]) -> bool:
    self.started.emit(title)
    try:
        on_result(drain(job))
    except CardioSegError as error:
        self.failed.emit(error)
        self.ended.emit(False)
    else:
        self.ended.emit(True)
    return True


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobRunner, "start", run_at_once)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    phantom = make_phantom(n_phases=3, n_slices=6, matrix=(48, 48), pixel_mm=6.0)
    write_phantom_dicom(tmp_path / "study", phantom, skip=[(1, 2)])
    return tmp_path / "study"


class Desk:
    """A viewer, its session and all that it was told."""

    def __init__(self) -> None:
        self.viewer = ViewerModel()
        self.session: Session = session_of(self.viewer)
        self.told: list[tuple[str, str]] = []
        self.session.told.connect(self.hear)

    def hear(self, sentence: str, level: str) -> None:
        self.told.append((level, sentence))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def saved(desk: Desk, folder: Path, tmp_path: Path) -> Path:
    """Labels saved with an edited and an accepted slice."""
    opening.open_path(desk.session, folder)
    assert desk.session.link is not None
    desk.session.navigator.go_to((0, 1))
    desk.session.link.layer.fill((0, 1, 5, 5), 2)
    desk.session.navigator.go_to((2, 3))
    commands.toggle_accepted(desk.session)
    path = tmp_path / "work.nii.gz"
    saving.save_labels(desk.session, path)
    return path


def assert_is_reopened(desk: Desk) -> None:
    link = desk.session.link
    assert link is not None
    assert link.states[0, 1] == SliceState.EDITED
    assert link.states[2, 3] == SliceState.ACCEPTED
    assert np.count_nonzero(link.states) == 2
    assert (link.layer.data[0, 1] == 2).all()
    assert not desk.session.has_unsaved_changes


def test_the_only_short_axis_cine_is_loaded_and_its_holes_are_named(desk: Desk, folder: Path) -> None:
    opening.open_path(desk.session, folder)
    cine = desk.session.cine
    assert cine is not None
    assert np.argwhere(~cine.present).tolist() == [[1, 2]]
    assert [level for level, _ in desk.told] == ["notice"]
    assert "slice 3 phase 2" in desk.told[0][1]


def test_another_tag_can_order_the_phases(desk: Desk, folder: Path) -> None:
    opening.open_path(desk.session, folder)
    series = desk.session.series
    assert series is not None
    opening.load(desk.session, series, "InstanceNumber")
    assert desk.session.cine is not None
    assert desk.session.cine.time_source == "InstanceNumber"


def test_a_second_study_does_not_replace_an_open_cine_by_itself(desk: Desk, folder: Path) -> None:
    opening.open_path(desk.session, folder)
    cine = desk.session.cine
    opening.open_path(desk.session, folder)
    assert desk.session.cine is cine


def test_saved_labels_bring_back_their_cine(saved: Path) -> None:
    other = Desk()
    opening.open_path(other.session, saved)
    assert_is_reopened(other)
    assert other.session.saved_to == str(saved)


def test_images_that_have_moved_are_asked_for(saved: Path, folder: Path, tmp_path: Path) -> None:
    other = Desk()
    moved = shutil.move(folder, tmp_path / "archive")
    asked = []

    def answer(labels: object) -> str:
        asked.append(labels)
        return str(moved)

    opening.reopen(other.session, saved, ask_source=answer)
    assert len(asked) == 1
    assert_is_reopened(other)


def test_labels_are_laid_on_the_open_cine_if_they_fit(desk: Desk, saved: Path) -> None:
    cine = desk.session.cine
    opening.reopen(desk.session, saved)
    assert desk.session.cine is cine
    assert_is_reopened(desk)


def test_masks_of_other_software_need_an_open_cine_and_count_as_edited(
    desk: Desk, folder: Path, tmp_path: Path
) -> None:
    opening.open_path(desk.session, folder)
    cine = desk.session.cine
    assert cine is not None
    labels = np.zeros(cine.data.shape, np.uint8)
    labels[0, 0, 10:20, 10:20] = 1
    path = tmp_path / "foreign.nii.gz"
    write_nifti_labels(path, labels, cine.geometry)
    opening.reopen(desk.session, path)
    assert desk.session.link is not None
    assert desk.session.link.states[0, 0] == SliceState.EDITED

    other = Desk()
    opening.reopen(other.session, path)
    assert other.session.cine is None
    assert other.told[-1][0] == "error"
    assert "Open the cine first" in other.told[-1][1]


def test_a_path_that_is_not_there_is_told(desk: Desk, tmp_path: Path) -> None:
    opening.open_path(desk.session, tmp_path / "absent")
    assert desk.told[-1][0] == "error"
    assert "absent" in desk.told[-1][1]
    assert desk.session.cine is None


def test_a_file_that_is_no_image_is_told_and_the_list_of_series_stays(
    desk: Desk, folder: Path, tmp_path: Path
) -> None:
    opening.open_path(desk.session, folder)
    scan, cine = desk.session.scan, desk.session.cine
    (tmp_path / "letter.txt").write_text("Dear colleague")
    opening.open_path(desk.session, tmp_path / "letter.txt")
    assert desk.told[-1][0] == "error"
    assert "letter.txt is not a DICOM file" in desk.told[-1][1]
    assert desk.session.scan is scan
    assert desk.session.cine is cine


def test_where_several_series_wait_the_reader_is_asked_to_choose(desk: Desk, folder: Path) -> None:
    other = make_phantom(1, n_phases=2, n_slices=5, matrix=(48, 48), pixel_mm=6.0)
    write_phantom_dicom(folder / "other", other)
    opening.open_path(desk.session, folder)
    assert desk.session.cine is None
    assert desk.told[-1] == ("info", "2 series found. Choose one in the Data section and open it.")


def test_a_lone_series_is_loaded_whatever_it_shows(desk: Desk, tmp_path: Path) -> None:
    axial = nib.Nifti1Image(np.ones((12, 12, 3, 2), np.int16), np.diag((-2, -2, 8, 1)))
    nib.save(axial, tmp_path / "axial.nii.gz")
    opening.open_path(desk.session, tmp_path / "axial.nii.gz")
    assert desk.session.cine is not None
    assert desk.session.cine.data.shape == (2, 3, 12, 12)


def test_contours_are_saved_in_the_background(desk: Desk, saved: Path, tmp_path: Path) -> None:
    saving.save_contours(desk.session, tmp_path / "contours")
    assert list((tmp_path / "contours").glob("*.txt"))
    assert "contours saved" in desk.told[-1][1]
    before = desk.session.link.snapshot()
    desk.session.link.layer.data_setitem(np.nonzero(before.labels), 0)
    assert opening.open_contours(desk.session, tmp_path / "contours")
    after = desk.session.link.snapshot()
    marked = before.labels.any(axis=(2, 3))
    assert marked.any()
    np.testing.assert_array_equal(after.labels.any(axis=(2, 3)), marked)
    assert (after.states[marked] == SliceState.EDITED).all()
    assert ((after.labels == 1) == (before.labels == 1)).mean() > 0.999
    opening.open_contours(desk.session, tmp_path)  # a folder above them will do
    desk.session.close_cine()
    assert not opening.open_contours(desk.session, tmp_path / "contours")
