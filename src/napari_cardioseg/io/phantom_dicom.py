"""The phantom as the files a scanner would send: one MR image each."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from napari_cardioseg import __version__
from napari_cardioseg.domain import Cine, DataError
from napari_cardioseg.io.phantom import Phantom

_IMPLEMENTATION_UID = UID("1.2.826.0.1.3680043.8.498.1")


def write_phantom_dicom(
    folder: str | Path, phantom: Phantom, *, suffix: str = ".dcm", skip: Collection[tuple[int, int]] = ()
) -> tuple[Path, ...]:
    """Write every frame of a phantom as a DICOM MR image, in the order of instance numbers.

    Equal phantoms give equal files, byte for byte.

    Parameters
    ----------
    folder : path
        Where to write; made if absent.
    phantom : Phantom
        What to write; its truth is not in the files.
    suffix : str
        End of the file names; empty for names without one, as many scanners export.
    skip : collection of (t, z)
        Frames to leave out, as an incomplete transfer would.

    Raises
    ------
    DataError
        If the folder cannot be written.
    """
    folder = Path(folder)
    cine = phantom.cine
    frames = [(t, z) for t in range(cine.n_phases) for z in range(cine.n_slices) if (t, z) not in set(skip)]
    frames.sort(key=lambda frame: int(cine.frames.instance_numbers[frame]))
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for phase, z in frames:
            path = folder / f"IM-0001-{int(cine.frames.instance_numbers[phase, z]):04d}{suffix}"
            _dataset(phantom, phase, z).save_as(path, enforce_file_format=True)
            written.append(path)
    except OSError as error:
        raise DataError(f"The phantom cannot be written to {folder}: {error.strerror or error}.") from error
    return tuple(written)


def _dataset(phantom: Phantom, phase: int, z: int) -> FileDataset:
    cine = phantom.cine
    uid = UID(str(cine.frames.sop_uids[phase, z]))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = uid
    _describe_series(dataset, cine)
    _describe_acquisition(dataset, phantom, phase)
    _place(dataset, cine, z)
    dataset.InstanceNumber = int(cine.frames.instance_numbers[phase, z])
    _set_pixels(dataset, cine, cine.data[phase, z])
    return dataset


def _describe_series(dataset: Dataset, cine: Cine) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    for moment in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{moment}Date", "20240101")
        setattr(dataset, f"{moment}Time", "120000")
    dataset.AccessionNumber = ""
    dataset.Modality = "MR"
    dataset.Manufacturer = "napari-cardioseg"
    dataset.ManufacturerModelName = "phantom"
    dataset.SoftwareVersions = __version__
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Cardiac MRI phantom"
    dataset.SeriesDescription = cine.description
    dataset.PatientName = cine.patient_id
    dataset.PatientID = cine.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = cine.study_uid
    dataset.SeriesInstanceUID = cine.series_uid
    dataset.FrameOfReferenceUID = cine.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    dataset.StudyID = "1"
    dataset.SeriesNumber = 1
    dataset.AcquisitionNumber = 1


def _describe_acquisition(dataset: Dataset, phantom: Phantom, phase: int) -> None:
    cine, recipe = phantom.cine, phantom.recipe
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "SS"
    dataset.ScanOptions = "CG"
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = "3.4"
    dataset.EchoTime = "1.5"
    dataset.EchoTrainLength = 1
    dataset.FlipAngle = "50"
    dataset.MagneticFieldStrength = "1.5"
    dataset.BodyPartExamined = "HEART"
    dataset.PatientPosition = "HFS"
    dataset.NominalInterval = round(60000 / recipe.heart_rate)
    dataset.HeartRate = round(recipe.heart_rate)
    dataset.CardiacNumberOfImages = cine.n_phases
    times = cine.phase_times or (0.0,) * cine.n_phases
    dataset.TriggerTime = DSfloat(times[phase], auto_format=True)


def _place(dataset: Dataset, cine: Cine, z: int) -> None:
    affine = cine.geometry.affine
    dz, dy, dx = cine.geometry.spacing
    corner = cine.geometry.to_patient(np.array((z, 0, 0)))
    orientation = (*(affine[:3, 2] / dx), *(affine[:3, 1] / dy))
    dataset.ImagePositionPatient = [DSfloat(float(v), auto_format=True) for v in corner]
    dataset.ImageOrientationPatient = [DSfloat(float(v), auto_format=True) for v in orientation]
    dataset.PixelSpacing = [DSfloat(dy, auto_format=True), DSfloat(dx, auto_format=True)]
    dataset.SliceThickness = DSfloat(dz, auto_format=True)
    dataset.SpacingBetweenSlices = DSfloat(dz, auto_format=True)
    dataset.SliceLocation = DSfloat(z * dz, auto_format=True)


def _set_pixels(dataset: Dataset, cine: Cine, pixels: NDArray[np.integer | np.floating]) -> None:
    stored = pixels.astype("<i2")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    low, high = cine.display_range()
    dataset.WindowCenter = DSfloat((low + high) / 2, auto_format=True)
    dataset.WindowWidth = DSfloat(high - low, auto_format=True)
    dataset.PixelData = stored.tobytes()
