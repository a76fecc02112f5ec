"""Enhanced multi-frame images: one file, many frames, each with its own geometry and time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedMRImage
from io_dicom_files import (
    COLUMN,
    NORMAL,
    ROW,
    RR,
    STEP_MM,
    assert_in_place,
    load,
    make_frame,
    only,
    pixels_of,
    write_cine,
)
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from napari_cardioseg.domain import drain
from napari_cardioseg.io import load_cine, scan

PHASES, SLICES = 4, 3


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def write_enhanced(path: Path, time: str, order: list[tuple[int, int]] | None = None) -> Dataset:
    """Write an enhanced file as scanners do, its frames phase by phase, with their time in `time`."""
    places = order or [(t, z) for t in range(PHASES) for z in range(SLICES)]
    ds = make_frame(0, 0, SLICES, PHASES, generate_uid())
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "TriggerTime",
        "NominalInterval",
        "WindowCenter",
        "WindowWidth",
    ):
        delattr(ds, keyword)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    ds.NumberOfFrames = len(places)
    ds.PixelData = b"".join(pixels_of(t, z).tobytes() for t, z in places)
    ds.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[1.5, 1.25], SliceThickness=6)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[float(v) for v in (*ROW, *COLUMN)])],
            PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=0, RescaleType="US")],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [_groups(t, z, time) for t, z in places]
    ds.save_as(path, enforce_file_format=True)
    return ds


def _groups(t: int, z: int, time: str) -> Dataset:
    position = [float(f"{v:.6f}") for v in (100, -50, 30) + z * STEP_MM * NORMAL]
    groups = item(
        PlanePositionSequence=[item(ImagePositionPatient=position)],
        FrameVOILUTSequence=[item(WindowCenter=300, WindowWidth=500)],
        FrameContentSequence=[item(StackID="1", InStackPositionNumber=z + 1)],
    )
    if time == "NominalCardiacTriggerDelayTime":
        synchronisation = item(NominalCardiacTriggerDelayTime=t * RR / PHASES + z, RRIntervalTimeNominal=RR)
        groups.CardiacSynchronizationSequence = [synchronisation]
    elif time == "TemporalPositionIndex":
        groups.FrameContentSequence[0].TemporalPositionIndex = t + 1
    return groups


@pytest.mark.parametrize(
    "time", ["NominalCardiacTriggerDelayTime", "TemporalPositionIndex", "InstanceNumber"]
)
def test_frames_of_one_file_come_into_place(tmp_path: Path, time: str) -> None:
    ds = write_enhanced(tmp_path / "enhanced", time)
    info = only(tmp_path / "enhanced")
    assert (info.n_slices, info.n_phases) == (SLICES, PHASES)
    assert info.spacing == pytest.approx((STEP_MM, 1.5, 1.25), abs=1e-4)
    assert (info.time_source, info.time_is_guess) == (time, time == "InstanceNumber")
    cine = drain(load_cine(info))
    assert cine.is_complete
    assert_in_place(cine)
    assert cine.window == (50, 550)
    assert (cine.frames.sop_uids == ds.SOPInstanceUID).all()
    assert cine.frames.frame_numbers.tolist() == [
        [t * SLICES + z + 1 for z in range(SLICES)] for t in range(4)
    ]
    if time == "NominalCardiacTriggerDelayTime":
        assert cine.phase_times == pytest.approx((0, 200, 400, 600))
        assert cine.heart_rate == pytest.approx(75)


def test_a_missing_frame_of_an_enhanced_file_is_a_hole(tmp_path: Path) -> None:
    places = [(t, z) for z in range(SLICES) for t in range(PHASES) if (t, z) != (2, 1)]
    write_enhanced(tmp_path / "enhanced", "NominalCardiacTriggerDelayTime", places)
    cine = load(tmp_path)
    assert np.argwhere(~cine.present).tolist() == [[2, 1]]
    assert_in_place(cine)


def test_the_end_of_an_enhanced_file_may_be_missing(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "enhanced", "NominalCardiacTriggerDelayTime")
    whole = (tmp_path / "enhanced").read_bytes()
    (tmp_path / "enhanced").write_bytes(whole[:-10])
    result = drain(scan(tmp_path))
    assert len(result.problems) == 1
    assert result.problems[0].startswith("enhanced is truncated")
    cine = drain(load_cine(result.series[0]))
    assert np.argwhere(~cine.present).tolist() == [[PHASES - 1, SLICES - 1]]
    assert_in_place(cine)


def test_too_few_functional_groups(tmp_path: Path) -> None:
    ds = write_enhanced(tmp_path / "enhanced", "NominalCardiacTriggerDelayTime")
    del ds.PerFrameFunctionalGroupsSequence[-1]
    ds.save_as(tmp_path / "enhanced", enforce_file_format=True)
    result = drain(scan(tmp_path))
    assert "describes 11 of its 12 frames" in result.series[0].problem


def test_legacy_converted(tmp_path: Path) -> None:
    reference = generate_uid()

    def complete(t: int, z: int, ds: Dataset) -> None:
        ds.FrameOfReferenceUID = reference
        ds.StudyDate = ds.PatientBirthDate = ds.AccessionNumber = ds.StudyTime = ds.StudyID = ""
        ds.SeriesNumber, ds.PatientSex, ds.ImageType = 1, "", ["ORIGINAL", "PRIMARY", "M", "NONE"]
        ds.AcquisitionDate = ds.ContentDate = "20200101"
        ds.AcquisitionTime = ds.ContentTime = "101010"
        ds.Manufacturer, ds.SliceThickness, ds.MagneticFieldStrength = "Maker", 6, 1.5
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "GR", "SS", ""
        ds.MRAcquisitionType, ds.EchoTime, ds.RepetitionTime = "2D", 1.5, 3.0
        ds.EchoTrainLength, ds.PositionReferenceIndicator, ds.ReferringPhysicianName = 1, "", ""

    write_cine(tmp_path / "single", change=complete)
    singles = [pydicom.dcmread(f) for f in sorted((tmp_path / "single").iterdir())]
    converted = LegacyConvertedEnhancedMRImage(singles, generate_uid(), 1, generate_uid(), 1)
    (tmp_path / "converted").mkdir()
    converted.save_as(tmp_path / "converted" / "IM", enforce_file_format=True)
    info = only(tmp_path / "converted")
    assert (info.n_slices, info.n_phases, info.time_source) == (3, 5, "TriggerTime")
    cine = drain(load_cine(info))
    assert cine.is_complete
    assert cine.phase_times == pytest.approx((0, 160, 320, 480, 640))
    assert_in_place(cine)
