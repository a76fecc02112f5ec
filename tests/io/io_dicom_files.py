"""Write small DICOM cines for the tests: each frame's pixels say where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from napari_cardioseg.domain import Cine, drain
from napari_cardioseg.io import ScanResult, SeriesInfo, load_cine, scan

ROWS, COLUMNS = 16, 24
ROW = np.array((-0.104592, 0.346381, -0.932245))
COLUMN = np.array((-0.733192, -0.660188, -0.163037))
NORMAL = np.cross(ROW, COLUMN)
RR = 800
STEP_MM = 8.0

Change = Callable[[int, int, Dataset], Any]


def pixels_of(t: int, z: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Pixels (y, x) that no other phase or slice shares."""
    return (np.arange(rows * columns).reshape(rows, columns) % 50 + 1000 * z + 50 * t + 1).astype(np.int16)


def make_frame(t: int, z: int, n_slices: int, n_phases: int, series_uid: str) -> Dataset:
    """Make phase t of slice z; instance numbers run against the normal, as in the Sunnybrook cines."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.SeriesInstanceUID = series_uid
    ds.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    ds.FrameOfReferenceUID = generate_uid()
    ds.PatientName, ds.PatientID, ds.Modality = "Secret^Name", "P1", "MR"
    ds.InstanceNumber = n_phases * (n_slices - 1 - z) + t + 1
    ds.ImagePositionPatient = [round(float(v), 6) for v in (100, -50, 30) + z * STEP_MM * NORMAL]
    ds.ImageOrientationPatient = [float(v) for v in (*ROW, *COLUMN)]
    ds.PixelSpacing = [1.5, 1.25]
    ds.TriggerTime = round(t * RR / n_phases + z, 3)
    ds.NominalInterval = RR
    ds.WindowCenter, ds.WindowWidth = 300, 500
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = pixels_of(t, z).tobytes()
    return ds


def write_cine(
    folder: Path,
    n_slices: int = 3,
    n_phases: int = 5,
    change: Change | None = None,
    prefix: str = "IM",
    series_uid: str | None = None,
) -> str:
    """Write one file a frame, `<prefix><slice>_<phase>` without extension; give the series' UID.

    `change(t, z, ds)` may alter each; a frame for which it returns False is not written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid = series_uid or generate_uid()
    for z in range(n_slices):
        for t in range(n_phases):
            ds = make_frame(t, z, n_slices, n_phases, uid)
            if change is None or change(t, z, ds) is not False:
                ds.save_as(folder / f"{prefix}{z}_{t}", enforce_file_format=True)
    return uid


def only(path: Path) -> SeriesInfo:
    """Scan a path that holds one series."""
    result: ScanResult = drain(scan(path))
    assert len(result.series) == 1, result
    return result.series[0]


def load(path: Path, **options: str) -> Cine:
    """Load the one series below a path."""
    return drain(load_cine(only(path), **options))


def assert_in_place(cine: Cine) -> None:
    """Every frame that is present shows the pixels made for its phase and slice; holes are zero."""
    for t in range(cine.n_phases):
        for z in range(cine.n_slices):
            expected = pixels_of(t, z) if cine.present[t, z] else np.zeros((ROWS, COLUMNS))
            np.testing.assert_array_equal(cine.data[t, z], expected, err_msg=f"phase {t} slice {z}")
