"""Saved work comes back whole, and what does not belong is refused with a sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_cardioseg.domain import (
    LV_SCHEME,
    Cine,
    DataError,
    Geometry,
    LabelClass,
    LabelScheme,
    Segmentation,
    SliceState,
    drain,
)
from napari_cardioseg.domain.labels import RV_CAVITY
from napari_cardioseg.io import scan
from napari_cardioseg.io.nifti import write_nifti_labels
from napari_cardioseg.io.phantom import Phantom, make_phantom
from napari_cardioseg.io.saved_labels import read_saved_labels, save_labels


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(1, n_phases=3, n_slices=6, matrix=(64, 72), pixel_mm=2.5)


@pytest.fixture
def work(phantom: Phantom) -> Segmentation:
    rng = np.random.default_rng(0)
    grid = phantom.truth.states.shape
    uncertainty = rng.random(grid, dtype=np.float32)
    uncertainty[0, 0] = np.nan
    states = rng.integers(0, 4, grid, dtype=np.uint8)
    user = LabelClass(7, "scar", "scar «äß»", (0.5, 0.25, 0.125))
    scheme = LabelScheme((*LV_SCHEME.classes, RV_CAVITY, user))
    labels = phantom.truth.labels.copy()
    labels[1, 2, 3, 4] = 7
    return Segmentation(labels, scheme, states, uncertainty, "unet-v3")


def test_work_comes_back_whole(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    path = save_labels(tmp_path / "a.nii.gz", work, phantom.cine)
    saved = read_saved_labels(path)
    back = saved.fit_to(phantom.cine)
    np.testing.assert_array_equal(back.labels, work.labels)
    np.testing.assert_array_equal(back.states, work.states)
    np.testing.assert_allclose(back.uncertainty, work.uncertainty, atol=1e-6)
    assert (back.scheme, back.origin) == (work.scheme, "unet-v3")
    assert (saved.series_uid, saved.study_uid) == (phantom.cine.series_uid, phantom.cine.study_uid)
    assert (saved.time_source, saved.is_ours) == ("TriggerTime", True)
    assert saved.software.startswith("napari-cardioseg ")


def test_the_file_names_no_patient(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    path = save_labels(tmp_path / "a.nii", work, phantom.cine)
    assert phantom.cine.patient_id.encode() not in path.read_bytes()


def test_any_reader_of_nifti_sees_the_labels(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    image = nib.load(save_labels(tmp_path / "a.nii.gz", work, phantom.cine))
    np.testing.assert_array_equal(np.asarray(image.dataobj), work.labels.T)
    x, y, z = (image.affine @ (10, 20, 3, 1))[:3]
    expected = phantom.cine.geometry.to_patient(np.array((3, 20, 10)))
    np.testing.assert_allclose((-x, -y, z), expected, atol=1e-3)


def test_saved_labels_are_not_listed_as_images(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    save_labels(tmp_path / "a.nii.gz", work, phantom.cine)
    (series,) = drain(scan(tmp_path)).series
    assert "saved labels" in series.problem
    assert not series.is_cine


def test_saving_again_replaces_the_file(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    path = save_labels(tmp_path / "a.nii.gz", work, phantom.cine)
    save_labels(path, phantom.truth, phantom.cine)
    assert (read_saved_labels(path).segmentation.states == SliceState.ACCEPTED).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_foreign_labels_count_as_edited(phantom: Phantom, tmp_path: Path) -> None:
    labels = phantom.truth.labels.copy()
    labels[0, 0, 0, 0] = 9
    path = write_nifti_labels(tmp_path / "a.nii.gz", labels, phantom.cine.geometry)
    saved = read_saved_labels(path)
    assert not saved.is_ours
    segmentation = saved.fit_to(phantom.cine)
    drawn = labels.any(axis=(2, 3))
    np.testing.assert_array_equal(segmentation.states == SliceState.EDITED, drawn)
    np.testing.assert_array_equal(segmentation.states == SliceState.EMPTY, ~drawn)
    assert segmentation.scheme.values == (1, 2, 9)


def _other(cine: Cine, **changes: object) -> Cine:
    return dataclasses.replace(cine, **changes)  # type: ignore[arg-type]


def test_labels_of_another_series_are_refused(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    cine = phantom.cine
    saved = read_saved_labels(save_labels(tmp_path / "a.nii.gz", work, cine))
    moved = cine.geometry.affine.copy()
    moved[0, 3] += 2.0
    cropped = Cine(cine.data[:, :, :-1], cine.geometry)
    with pytest.raises(DataError, match="another series"):
        saved.fit_to(cropped)
    with pytest.raises(DataError, match="lies elsewhere"):
        saved.fit_to(_other(cine, geometry=Geometry(moved)))
    copy = _other(cine, series_uid="1.2.3")
    with pytest.raises(DataError, match="saved for another series"):
        saved.fit_to(copy)
    assert saved.fit_to(copy, other_series=True).origin == "unet-v3"
    with pytest.raises(DataError, match="ordered by TriggerTime"):
        saved.fit_to(_other(cine, time_source="InstanceNumber"))
    with pytest.raises(DataError, match="cannot be saved together"):
        save_labels(tmp_path / "b.nii.gz", work, cropped)


def _record(path: Path) -> dict[str, object]:
    return json.loads(bytes(nib.load(path).header.extensions[0].get_content()).rstrip(b"\0"))


def _with_comment(phantom: Phantom, work: Segmentation, path: Path, comment: bytes) -> Path:
    return write_nifti_labels(path, work.labels, phantom.cine.geometry, comment=comment)


@pytest.mark.parametrize(
    "change",
    [
        {"states": [[0, 1], [2, 3]]},
        {"states": "all"},
        {"states": [[9] * 6] * 3},
        {"states": [[0.5] * 6] * 3},
        {"states": [[0] * 6, [0] * 5, [0] * 6]},
        {"uncertainty": [[0.5]]},
        {"uncertainty": [["high"] * 6] * 3},
        {"scheme": []},
        {"scheme": [{"value": 1}]},
        {"scheme": {"value": 1}},
        {"scheme": [{"value": "1", "key": "lv", "name": "LV", "colour": [0, 0, 0], "code": None}]},
        {"scheme": [{"value": 1, "key": "lv", "name": "LV", "colour": [0, 0, 7], "code": None}]},
        {"origin": 5},
        {"source": None},
        {"version": "one"},
    ],
)
def test_a_bent_record_is_a_sentence(
    phantom: Phantom, work: Segmentation, tmp_path: Path, change: dict[str, object]
) -> None:
    path = save_labels(tmp_path / "a.nii", work, phantom.cine)
    record = {**_record(path), **change}
    bent = _with_comment(phantom, work, tmp_path / "b.nii", json.dumps(record).encode())
    with pytest.raises(DataError, match=r"b\.nii"):
        read_saved_labels(bent)


@pytest.mark.parametrize(
    "comment",
    [
        b'{"format": "napari-cardioseg labels", "version": 1, "sta',
        b'["napari-cardioseg labels"]',
        b'{"format": "napari-cardioseg labels"}',
        b'"napari-cardioseg labels" \xff\xfe',
        b"[" * 100_000 + b'"napari-cardioseg labels"',
    ],
)
def test_a_torn_record_is_a_sentence(
    phantom: Phantom, work: Segmentation, tmp_path: Path, comment: bytes
) -> None:
    with pytest.raises(DataError, match="damaged"):
        read_saved_labels(_with_comment(phantom, work, tmp_path / "b.nii", comment))


def test_a_newer_file_asks_for_an_update(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    record = {**_record(save_labels(tmp_path / "a.nii", work, phantom.cine)), "version": 2}
    path = _with_comment(phantom, work, tmp_path / "b.nii", json.dumps(record).encode())
    with pytest.raises(DataError, match="newer"):
        read_saved_labels(path)


def test_comments_of_others_are_no_record(phantom: Phantom, work: Segmentation, tmp_path: Path) -> None:
    path = _with_comment(phantom, work, tmp_path / "b.nii", b"made by somebody else")
    assert not read_saved_labels(path).is_ours
