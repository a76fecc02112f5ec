"""A cine comes out of its files with every frame in its place."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pydicom
import pytest
from io_dicom_files import (
    COLUMN,
    COLUMNS,
    NORMAL,
    ROW,
    ROWS,
    STEP_MM,
    assert_in_place,
    load,
    only,
    pixels_of,
    write_cine,
)
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from napari_cardioseg.domain import DataError, drain
from napari_cardioseg.io import load_cine

SUNNYBROOK = {"SCD0000101": (12, 10), "SCD0000201": (13, 10), "SCD0000301": (10, 8), "SCD0000401": (11, 8)}


@pytest.mark.sunnybrook
@pytest.mark.parametrize("patient", SUNNYBROOK)
def test_real_cine_has_every_frame_in_its_place(sunnybrook: Path, patient: str) -> None:
    n_slices, distance = SUNNYBROOK[patient]
    folder = sunnybrook / "dicom" / patient
    info = only(folder)
    assert (info.n_slices, info.n_phases, info.matrix) == (n_slices, 20, (256, 256))
    assert info.is_short_axis_cine
    assert info.time_source == "TriggerTime"
    assert not info.time_is_guess
    assert info.warnings == ()
    cine = drain(load_cine(info))
    assert cine.geometry.spacing[0] == pytest.approx(distance, abs=0.001)
    assert cine.is_complete
    assert cine.heart_rate is not None
    assert cine.phase_times is not None
    assert cine.phase_times[0] == 0
    for z in range(n_slices):
        for t in range(20):
            number = 20 * (n_slices - 1 - z) + t + 1
            with pydicom.config.disable_value_validation():
                ds = pydicom.dcmread(folder / f"{number}.dcm")
                np.testing.assert_array_equal(cine.data[t, z], ds.pixel_array)
                assert cine.frames.sop_uids[t, z] == ds.SOPInstanceUID
            assert cine.frames.instance_numbers[t, z] == number
            corner = cine.geometry.to_patient(np.array((z, 0, 0)))
            np.testing.assert_allclose(corner, ds.ImagePositionPatient, atol=0.01)


def test_written_cine_comes_back(tmp_path: Path) -> None:
    write_cine(tmp_path / "deep" / "er")
    info = only(tmp_path)
    assert (info.kind, info.n_slices, info.n_phases, info.matrix) == ("dicom", 3, 5, (ROWS, COLUMNS))
    assert info.spacing == pytest.approx((STEP_MM, 1.5, 1.25), abs=1e-5)
    assert "Secret" not in repr(info) + repr(info.files)
    cine = drain(load_cine(info))
    assert_in_place(cine)
    assert cine.is_complete
    assert cine.data.dtype == np.int16
    assert cine.window == (50, 550)
    assert cine.heart_rate == pytest.approx(75)
    assert cine.phase_times == pytest.approx((0, 160, 320, 480, 640))
    assert (cine.frames.frame_numbers == 1).all()
    affine = cine.geometry.affine
    np.testing.assert_allclose(affine[:3, 0], NORMAL * STEP_MM, atol=1e-4)
    np.testing.assert_allclose(affine[:3, 1], COLUMN * 1.5, atol=1e-4)
    np.testing.assert_allclose(affine[:3, 2], ROW * 1.25, atol=1e-4)
    np.testing.assert_allclose(affine[:3, 3], (100, -50, 30), atol=1e-4)


def test_file_names_and_trigger_delays_of_slices_do_not_matter(tmp_path: Path) -> None:
    def late(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.TriggerTime = float(ds.TriggerTime) + 150 * z

    write_cine(tmp_path, change=late)
    files = sorted(tmp_path.iterdir())
    names = [f"F{i:03}" for i in range(len(files))]
    random.Random(0).shuffle(names)
    for file, name in zip(files, names, strict=True):
        file.rename(tmp_path / name)
    assert_in_place(load(tmp_path))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_other_uncompressed_encodings(tmp_path: Path, syntax: str) -> None:
    def encode(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = pixels_of(t, z).astype(">i2").tobytes()

    write_cine(tmp_path, change=encode)
    cine = load(tmp_path)
    assert_in_place(cine)
    assert cine.data.dtype == np.int16


def test_rescale_makes_floats_only_where_needed(tmp_path: Path) -> None:
    def shift(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1000

    def scale(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 0.5 + t, 10

    write_cine(tmp_path / "shift", change=shift)
    write_cine(tmp_path / "scale", change=scale)
    shifted = load(tmp_path / "shift")
    assert shifted.data.dtype.kind == "i"
    np.testing.assert_array_equal(shifted.data[2, 1], pixels_of(2, 1) - 1000)
    scaled = load(tmp_path / "scale")
    assert scaled.data.dtype == np.float32
    np.testing.assert_allclose(scaled.data[2, 1], pixels_of(2, 1) * 2.5 + 10)


@pytest.mark.parametrize("signed", [False, True])
def test_monochrome1_is_turned_so_that_bright_is_bright(tmp_path: Path, signed: bool) -> None:
    def invert(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.PhotometricInterpretation = "MONOCHROME1"
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(signed)
        ds.RescaleSlope, ds.RescaleIntercept = 2, 5

    write_cine(tmp_path, n_slices=2, change=invert)
    cine = load(tmp_path)
    stored = pixels_of(3, 1).astype(float)
    inverted = (-1 if signed else 4095) - stored
    np.testing.assert_allclose(cine.data[3, 1], inverted * 2 + 5)
    # What the scanner shows as black (the window's end where 0 is white) lies at the window's low end.
    black_before, white_before = 300 + 250, 300 - 250
    turned = [2 * ((-1 if signed else 4095) - (v - 5) / 2) + 5 for v in (black_before, white_before)]
    assert cine.window == pytest.approx(turned)


def test_eight_bit_and_unsigned(tmp_path: Path) -> None:
    def small(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation = 7, 0
        ds.PixelData = (pixels_of(t, z) % 256).astype(np.uint8).tobytes()

    write_cine(tmp_path, change=small)
    cine = load(tmp_path)
    assert cine.data.dtype == np.uint8
    np.testing.assert_array_equal(cine.data[4, 2], pixels_of(4, 2) % 256)


def test_absent_window_rate_and_thickness_are_not_errors(tmp_path: Path) -> None:
    def bare(t: int, z: int, ds: pydicom.Dataset) -> None:
        del ds.WindowCenter, ds.WindowWidth, ds.NominalInterval, ds.FrameOfReferenceUID

    write_cine(tmp_path, change=bare)
    cine = load(tmp_path)
    assert_in_place(cine)
    assert cine.window is None
    assert cine.heart_rate is None
    assert cine.frame_of_reference_uid == ""


def test_invalid_dates_and_uids_do_not_disturb(tmp_path: Path) -> None:
    def spoil(t: int, z: int, ds: pydicom.Dataset) -> None:
        with pydicom.config.disable_value_validation():
            ds.add_new("StudyDate", "DA", "20120000")
            ds.add_new("PatientBirthDate", "DA", "00000000")
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.03.{z}.0{t}"

    with pydicom.config.disable_value_validation():
        write_cine(tmp_path, change=spoil)
    assert_in_place(load(tmp_path))


def test_wrong_time_source_is_refused_by_name(tmp_path: Path) -> None:
    write_cine(tmp_path)
    info = only(tmp_path)
    assert info.time_sources == ("TriggerTime", "InstanceNumber")
    by_number = drain(load_cine(info, time_source="InstanceNumber"))
    assert_in_place(by_number)
    assert by_number.time_is_guess
    with pytest.raises(DataError, match=r"AcquisitionTime cannot order.*TriggerTime or InstanceNumber"):
        drain(load_cine(info, time_source="AcquisitionTime"))


def test_the_patients_place_of_an_identity_stack(tmp_path: Path) -> None:
    def axial(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [-10, -20, 7 * z]

    write_cine(tmp_path, change=axial, series_uid=generate_uid())
    info = only(tmp_path)
    assert info.plane == "axial"
    cine = drain(load_cine(info))
    np.testing.assert_allclose(cine.geometry.to_patient(np.array((2, 3, 4))), (-10 + 5, -20 + 4.5, 14))
