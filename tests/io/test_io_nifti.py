"""NIfTI: geometry both ways, odd files, and writing that never leaves half a file."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_cardioseg.domain import DataError, Geometry
from napari_cardioseg.io import nifti
from napari_cardioseg.io.nifti import (
    describe_nifti,
    read_nifti_cine,
    read_nifti_labels,
    write_nifti_labels,
)
from napari_cardioseg.io.phantom import make_phantom

SHAPE = (6, 5, 4, 3)  # x, y, z, t
RAS = np.array([[-1.4, 0.1, 2.0, 30.0], [0.2, 1.3, -1.0, -12.0], [0.1, 0.3, 7.5, 44.0], [0, 0, 0, 1.0]])


def _voxels() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def _image(
    data: np.ndarray, *, step: float = 100.0, units: tuple[str, str] = ("mm", "msec")
) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data, RAS)
    image.header.set_xyzt_units(*units)
    if data.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    return image


def _save(image: nib.Nifti1Image, path: Path) -> Path:
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_and_places_are_kept(tmp_path: Path, suffix: str) -> None:
    cine = read_nifti_cine(_save(_image(_voxels()), tmp_path / f"heart{suffix}"))
    assert cine.data.dtype == np.int16
    assert cine.data.shape == SHAPE[::-1]
    x, y, z, t = 4, 2, 3, 1
    assert cine.data[t, z, y, x] == _voxels()[x, y, z, t]
    right, anterior, superior = (RAS @ (x, y, z, 1))[:3]
    np.testing.assert_allclose(
        cine.geometry.to_patient(np.array((z, y, x))), (-right, -anterior, superior), atol=1e-4
    )
    assert cine.phase_times == (0.0, 100.0, 200.0)
    assert cine.description == "heart"


@pytest.mark.parametrize(
    ("step", "unit", "expected"),
    [
        (100.0, "msec", 100.0),
        (0.1, "sec", 100.0),
        (1e5, "usec", 100.0),
        (0.1, "unknown", 100.0),
        (100.0, "unknown", 100.0),
    ],
)
def test_phase_times_follow_the_unit(tmp_path: Path, step: float, unit: str, expected: float) -> None:
    cine = read_nifti_cine(_save(_image(_voxels(), step=step, units=("mm", unit)), tmp_path / "a.nii"))
    assert cine.phase_times == pytest.approx((0.0, expected, 2 * expected))
    assert cine.warnings == ()


@pytest.mark.parametrize("step", [3.3, 0.0, 9000.0])
def test_times_of_no_heartbeat_are_not_believed(tmp_path: Path, step: float) -> None:
    cine = read_nifti_cine(_save(_image(_voxels(), step=step), tmp_path / "a.nii"))
    assert cine.phase_times is None
    assert "between phases" in cine.warnings[0]


def test_metres_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_voxels()[..., 0], np.diag((0.0014, 0.0014, 0.008, 1.0)))
    image.header.set_xyzt_units("meter")
    cine = read_nifti_cine(_save(image, tmp_path / "a.nii"))
    assert cine.geometry.spacing == pytest.approx((8.0, 1.4, 1.4))
    assert (cine.n_phases, cine.time_source, cine.phase_times) == (1, "single phase", None)


def test_a_flat_image_is_one_slice(tmp_path: Path) -> None:
    cine = read_nifti_cine(_save(nib.Nifti1Image(_voxels()[..., 0, 0], RAS), tmp_path / "a.nii"))
    assert cine.data.shape == (1, 1, 5, 6)
    assert cine.data[0, 0, 2, 4] == _voxels()[4, 2, 0, 0]


def test_a_file_without_place_keeps_its_voxel_size(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_voxels()[..., 0], None)
    image.header.set_zooms((1.5, 1.25, 8.0))
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    cine = read_nifti_cine(_save(image, tmp_path / "a.nii"))
    assert cine.geometry.spacing == pytest.approx((8.0, 1.25, 1.5))
    assert "where its voxels lie" in cine.warnings[0]


def test_qform_serves_where_the_sform_is_empty(tmp_path: Path) -> None:
    affine = np.diag((-1.4, -1.4, 8.0, 1.0))
    image = nib.Nifti1Image(_voxels()[..., 0], None)
    image.set_qform(affine, code=1)
    image.set_sform(np.zeros((4, 4)), code=1)
    geometry = read_nifti_cine(_save(image, tmp_path / "a.nii")).geometry
    np.testing.assert_allclose(geometry.affine, Geometry.from_spacing((8.0, 1.4, 1.4)).affine, atol=1e-5)


def test_rescaled_values_are_applied(tmp_path: Path) -> None:
    image = _image(_voxels())
    image.header.set_slope_inter(2.0, -5.0)
    image.to_filename(tmp_path / "a.nii")
    raw = nib.load(tmp_path / "a.nii")
    cine = read_nifti_cine(tmp_path / "a.nii")
    assert cine.data.dtype == np.float32
    np.testing.assert_allclose(cine.data, raw.get_fdata().T)


def test_voxels_that_are_not_numbers_are_zero_and_told(tmp_path: Path) -> None:
    data = _voxels().astype(np.float32)
    data[0, 0, 0, 0] = np.nan
    cine = read_nifti_cine(_save(_image(data, step=200), tmp_path / "a.nii"))
    assert np.isfinite(cine.data).all()
    assert "1 voxels" in cine.warnings[0]


def _colour() -> nib.Nifti1Image:
    return nib.Nifti1Image(np.zeros((4, 4, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), RAS)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (_colour(), "colour"),
        (nib.Nifti1Image(np.zeros((4, 4, 2), np.complex64), RAS), "grey values"),
        (nib.Nifti1Image(np.zeros((4, 4, 2, 3, 2), np.int16), RAS), "5 dimensions"),
    ],
)
def test_what_is_no_cine_is_refused(tmp_path: Path, image: nib.Nifti1Image, words: str) -> None:
    path = _save(image, tmp_path / "a.nii")
    with pytest.raises(DataError, match=words):
        read_nifti_cine(path)
    assert words in describe_nifti(path).problem


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = _save(_image(_voxels()), tmp_path / "a.nii")
    for length in (100, 400):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DataError, match=r"a\.nii"):
            read_nifti_cine(path)
    packed = _save(
        _image(np.random.default_rng(0).integers(0, 999, (40, 40, 4, 3), np.int16)), tmp_path / "b.nii.gz"
    )
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"b\.nii\.gz"):
        read_nifti_cine(packed)
    with pytest.raises(DataError, match="not there"):
        read_nifti_cine(tmp_path / "none.nii")


def test_description_reads_the_header_alone(tmp_path: Path) -> None:
    path = _save(_image(_voxels(), step=200), tmp_path / "heart.nii")
    path.write_bytes(path.read_bytes()[:352])
    info = describe_nifti(path)
    assert (info.kind, info.uid, info.description) == ("nifti", str(path), "heart")
    assert (info.n_phases, info.n_slices, info.matrix) == (3, 4, (5, 6))
    assert info.spacing == pytest.approx(read_spacing(RAS))
    assert info.is_cine


def read_spacing(affine: np.ndarray) -> tuple[float, ...]:
    return tuple(np.linalg.norm(affine[:3, :3], axis=0)[::-1])


def _labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3, SHAPE[::-1], dtype=np.uint8)


def _sheared() -> Geometry:
    return Geometry(np.diag((-1.0, -1.0, 1.0, 1.0)) @ RAS[:, (2, 1, 0, 3)])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_labels_return_with_their_sheared_grid(tmp_path: Path, suffix: str) -> None:
    path = write_nifti_labels(tmp_path / f"a{suffix}", _labels(), _sheared(), (0.0, 40.0, 90.0))
    labels, geometry = read_nifti_labels(path)
    np.testing.assert_array_equal(labels, _labels())
    assert geometry.is_close_to(_sheared(), tolerance_mm=1e-4)
    header = nib.load(path).header
    assert header.get_zooms()[3] == 45.0
    assert header.get_xyzt_units() == ("mm", "msec")


def test_an_orthogonal_grid_is_in_both_forms(tmp_path: Path) -> None:
    geometry = Geometry.from_spacing((8.0, 1.4, 1.4))
    header = nib.load(write_nifti_labels(tmp_path / "a.nii", _labels(), geometry)).header
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-5)


def test_one_phase_is_a_volume(tmp_path: Path) -> None:
    path = write_nifti_labels(tmp_path / "a.nii.gz", _labels(), _sheared(), phase=2)
    assert nib.load(path).shape == SHAPE[:3]
    np.testing.assert_array_equal(read_nifti_labels(path)[0], _labels()[2:3])


def test_labels_have_whole_small_values(tmp_path: Path) -> None:
    whole = _save(nib.Nifti1Image(np.full((4, 4, 2), 2.0), RAS), tmp_path / "a.nii")
    assert read_nifti_labels(whole)[0].max() == 2
    for value in (1.5, -1.0, 256.0, np.nan):
        path = _save(nib.Nifti1Image(np.full((4, 4, 2), value), RAS), tmp_path / "b.nii")
        with pytest.raises(DataError, match="does not hold labels"):
            read_nifti_labels(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_nifti_labels(tmp_path / "a.nii.gz", _labels(), _sheared())
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nifti.os, "replace", fail)
    with pytest.raises(DataError, match="disk is full"):
        write_nifti_labels(path, 0 * _labels(), _sheared())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_bad_places_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_nifti_labels(tmp_path / "none" / "a.nii", _labels(), _sheared())
    with pytest.raises(DataError, match="must end in"):
        write_nifti_labels(tmp_path / "a.mha", _labels(), _sheared())


def test_a_short_axis_cine_is_known_as_such(tmp_path: Path) -> None:
    cine = make_phantom(n_phases=2, matrix=(64, 64), pixel_mm=5.0).cine
    path = tmp_path / "study.nii.gz"
    write_nifti_labels(path, np.ones(cine.data.shape, np.uint8), cine.geometry)
    info = describe_nifti(path)
    assert info.plane == "short axis"
    assert info.is_short_axis_cine
    axial = _save(nib.Nifti1Image(_voxels(), np.eye(4)), tmp_path / "axial.nii.gz")
    assert describe_nifti(axial).plane == "axial"
