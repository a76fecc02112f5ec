"""The phantom: its truth is what was asked for, and its files hold what is in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from napari_cardioseg.domain import ConfigError, DataError, drain
from napari_cardioseg.io import load_cine, scan
from napari_cardioseg.io.phantom import Phantom, PhantomRecipe, make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom

SMALL = {"n_phases": 6, "n_slices": 8, "matrix": (96, 112), "pixel_mm": 2.0}


@pytest.fixture(scope="module")
def small() -> Phantom:
    return make_phantom(3, **SMALL)


@pytest.fixture(scope="module")
def usual() -> Phantom:
    return make_phantom(0)


def _volumes(phantom: Phantom, value: int) -> np.ndarray:
    voxel_ml = np.prod(phantom.cine.geometry.spacing) / 1000
    return (phantom.truth.labels == value).sum(axis=(1, 2, 3)) * voxel_ml


def test_truth_figures_are_sums_of_discs(usual: Phantom) -> None:
    cavity, wall = _volumes(usual, 1), _volumes(usual, 2)
    assert (usual.ed_phase, usual.es_phase) == (cavity.argmax(), cavity.argmin()) == (0, 7)
    assert usual.edv_ml == pytest.approx(cavity[0])
    assert usual.esv_ml == pytest.approx(cavity[7])
    assert usual.ef_percent == pytest.approx(100 * (1 - cavity[7] / cavity[0]))
    assert usual.lv_mass_g == pytest.approx(1.05 * wall[0])


def test_voxels_agree_with_the_analytic_heart(usual: Phantom) -> None:
    recipe = usual.recipe
    assert usual.edv_ml == pytest.approx(recipe.edv_ml, rel=0.02)
    assert usual.ef_percent == pytest.approx(recipe.ejection_fraction, abs=1.0)
    assert usual.lv_mass_g == pytest.approx(recipe.lv_mass_g, rel=0.02)


@pytest.mark.parametrize(
    ("ef", "edv", "mass"), [(25.0, 240.0, 140.0), (70.0, 110.0, 90.0), (45.0, 180.0, 170.0)]
)
def test_asked_heart_is_made(ef: float, edv: float, mass: float) -> None:
    phantom = make_phantom(1, n_phases=4, n_slices=12, edv_ml=edv, ejection_fraction=ef, lv_mass_g=mass)
    assert phantom.edv_ml == pytest.approx(edv, rel=0.02)
    assert phantom.ef_percent == pytest.approx(ef, abs=1.5)
    assert phantom.lv_mass_g == pytest.approx(mass, rel=0.03)


def test_wall_keeps_its_mass_and_thickens(usual: Phantom) -> None:
    shapes = usual.recipe.shapes()
    assert {shape.wall_ml for shape in shapes} == {usual.recipe.lv_mass_g / 1.05}
    wall = _volumes(usual, 2)
    # The base moves through slices, so up to half a disc comes and goes.
    assert np.abs(wall / wall.mean() - 1).max() < 0.07
    thickness = [s.epicardial_radius_mm - s.cavity_radius_mm for s in (shapes[0], shapes[7])]
    assert thickness[1] > 1.3 * thickness[0] > 6


def test_cavity_is_closed_by_myocardium_and_ends_within_the_stack(usual: Phantom) -> None:
    labels = usual.truth.labels
    assert not labels[:, 0].any()
    assert not labels[:, -1].any()
    cavity = labels == 1
    for axis, step in ((2, 1), (2, -1), (3, 1), (3, -1)):
        neighbour = np.roll(labels, step, axis=axis)
        assert neighbour[cavity].all()


def test_contrast_is_that_of_balanced_ssfp(usual: Phantom) -> None:
    image, labels = usual.cine.data[0, 6], usual.truth.labels[0, 6]
    blood, muscle = np.median(image[labels == 1]), np.median(image[labels == 2])
    assert 2.5 < blood / muscle < 4.5
    # Papillary muscles are dark, yet count as cavity.
    assert (image[labels == 1] < (blood + muscle) / 2).mean() > 0.02


def test_seed_decides_everything(small: Phantom) -> None:
    again, other = make_phantom(3, **SMALL), make_phantom(4, **SMALL)
    np.testing.assert_array_equal(small.cine.data, again.cine.data)
    assert small.cine.series_uid == again.cine.series_uid
    assert not np.array_equal(small.cine.data, other.cine.data)
    assert small.cine.series_uid != other.cine.series_uid


def test_noise_bias_and_misalignment_can_be_left_out() -> None:
    clean = make_phantom(3, **SMALL, noise=0.0, bias=0.0, misalignment_mm=0.0)
    # The axis drifts by a constant step between slices where nothing misaligns them.
    rows = [np.argwhere(clean.truth.labels[0, z] > 0)[:, 0].mean() for z in range(2, 7)]
    assert np.abs(np.diff(rows, 2)).max() < 0.3
    still = clean.cine.data[:, 0]
    np.testing.assert_array_equal(still, np.broadcast_to(still[0], still.shape))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_phases": 1}, "at least 2 phases"),
        ({"n_slices": 6, "slice_mm": 8.0}, "at least 14 slices"),
        ({"ejection_fraction": 95.0}, "ejection fraction"),
        ({"edv_ml": 0.0}, "above 0"),
        ({"noise": -1.0}, "0 or more"),
    ],
)
def test_impossible_hearts_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PhantomRecipe(**options)  # type: ignore[arg-type]


def test_files_hold_pixels_and_places(small: Phantom, tmp_path: Path) -> None:
    paths = write_phantom_dicom(tmp_path / "dicom", small)
    assert len(paths) == 6 * 8
    cine = small.cine
    seen = set()
    for path in paths:
        header = pydicom.dcmread(path)
        phase, z = (int(v) for v in np.argwhere(cine.frames.sop_uids == header.SOPInstanceUID)[0])
        seen.add((phase, z))
        np.testing.assert_array_equal(header.pixel_array, cine.data[phase, z])
        corner = cine.geometry.to_patient(np.array((z, 0, 0)))
        np.testing.assert_allclose(np.array(header.ImagePositionPatient, float), corner, atol=1e-4)
        row, column = np.reshape(np.array(header.ImageOrientationPatient, float), (2, 3))
        np.testing.assert_allclose(row * header.PixelSpacing[1], cine.geometry.affine[:3, 2], atol=1e-4)
        np.testing.assert_allclose(column * header.PixelSpacing[0], cine.geometry.affine[:3, 1], atol=1e-4)
        assert header.InstanceNumber == 6 * (7 - z) + phase + 1
        assert float(header.TriggerTime) == pytest.approx(cine.phase_times[phase])
    assert len(seen) == 48


def test_files_are_the_same_each_time(small: Phantom, tmp_path: Path) -> None:
    first = write_phantom_dicom(tmp_path / "a", small, suffix="")
    second = write_phantom_dicom(tmp_path / "b", small, suffix="")
    assert [p.read_bytes() for p in first[:5]] == [p.read_bytes() for p in second[:5]]
    assert all(not path.suffix for path in first)


def test_frames_can_be_left_out(small: Phantom, tmp_path: Path) -> None:
    paths = write_phantom_dicom(tmp_path, small, skip=[(2, 3), (0, 0)])
    uids = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths}
    assert len(uids) == 46
    assert small.cine.frames.sop_uids[2, 3] not in uids


def test_unwritable_folder_is_a_sentence(small: Phantom, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_phantom_dicom(tmp_path / "file" / "folder", small)


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_own_reader_gives_back_the_cine(small: Phantom, tmp_path: Path, suffix: str) -> None:
    write_phantom_dicom(tmp_path, small, suffix=suffix)
    found = drain(scan(tmp_path))
    assert found.problems == ()
    assert found.series[0].is_short_axis_cine
    cine, made = drain(load_cine(found.series[0])), small.cine
    np.testing.assert_array_equal(cine.data, made.data)
    np.testing.assert_allclose(cine.geometry.affine, made.geometry.affine, atol=1e-4)
    np.testing.assert_array_equal(cine.frames.sop_uids, made.frames.sop_uids)
    np.testing.assert_array_equal(cine.frames.instance_numbers, made.frames.instance_numbers)
    assert cine.phase_times == pytest.approx(made.phase_times)
    assert (cine.time_source, cine.window, cine.heart_rate) == (
        made.time_source,
        made.window,
        made.heart_rate,
    )
    assert (cine.study_uid, cine.series_uid, cine.description) == (
        made.study_uid,
        made.series_uid,
        made.description,
    )
    assert cine.warnings == ()
