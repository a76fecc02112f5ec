"""Read the pixels of a DICOM series into a cine."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray

from napari_cardioseg.domain import Cine, DataError, FrameTable, Job, Progress
from napari_cardioseg.io.dicom_decode import decode_frame
from napari_cardioseg.io.dicom_frame import Frame, PixelFile
from napari_cardioseg.io.dicom_series import Arrangement, arrange
from napari_cardioseg.io.dicom_values import UNREADABLE, quiet_pydicom
from napari_cardioseg.io.series import SeriesInfo
from napari_cardioseg.io.sources import Reader, Source

_BATCH = 10
_NAMED_FAULTS = 3

Place = tuple[int, int]
Pixels = NDArray[np.integer[Any] | np.floating[Any]]


def load_dicom(series: SeriesInfo, *, time_source: str | None = None) -> Job[Cine]:
    """Load one DICOM series; see `napari_cardioseg.io.load_cine`."""
    if series.problem:
        raise DataError(series.problem)
    arranged = arrange(series.files, time_source)
    rows = arranged.grid.frames
    frames = {(t, z): f for t, row in enumerate(rows) for z, f in enumerate(row) if f is not None}
    shape = (len(rows), len(rows[0]), *series.matrix)
    try:
        data: Pixels = np.zeros(shape, _dtype(list(frames.values())))
    except MemoryError as error:
        size = " x ".join(map(str, shape))
        raise DataError(f"A cine of {size} voxels does not fit into this computer's memory.") from error

    faults: dict[Place, str] = {}
    as_on_disk = sorted(frames, key=lambda p: _on_disk(frames[p]))
    with PixelReader() as pixels:
        for start in range(0, len(frames), _BATCH):
            with quiet_pydicom():
                for place in as_on_disk[start : start + _BATCH]:
                    fault = pixels.read_into(data[place], frames[place])
                    if fault:
                        faults[place] = fault
            yield Progress(min(start + _BATCH, len(frames)), len(frames), "Reading images")
    if len(faults) == len(frames):
        raise DataError(f"No image of this series can be read. {next(iter(faults.values()))}")
    read = {place: frame for place, frame in frames.items() if place not in faults}
    known = arranged.warnings if time_source else series.warnings
    return _cine(series, arranged, data, read, [*known, *_first(faults.values())])


def _on_disk(frame: Frame) -> tuple[str, str, int]:
    return frame.file.source.path, frame.file.source.member, frame.index


def _dtype(frames: Sequence[Frame]) -> np.dtype[Any]:
    """Choose the type of the rescaled values: integers stay integers where the slope is 1."""
    stored = np.result_type(*{_stored_dtype(f.file) for f in frames})
    if all(f.slope == 1.0 and f.intercept == 0.0 for f in frames):
        return stored
    whole = stored.kind in "iu" and stored.itemsize <= 2
    if whole and all(f.slope == 1.0 and f.intercept.is_integer() for f in frames):
        return np.dtype(np.int32)
    return np.dtype(np.float64 if stored.itemsize > 4 else np.float32)


def _stored_dtype(file: PixelFile) -> np.dtype[Any]:
    bits = max(8, file.options["bits_allocated"])
    if file.keyword != "PixelData":
        return np.dtype(f"f{bits // 8}")
    return np.dtype(f"{'i' if file.options.get('pixel_representation') else 'u'}{bits // 8}")


class PixelReader:
    """Reads frames, keeping a multi-frame file open from one to the next; a context manager."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._source: Source | None = None
        self._handle: BinaryIO = io.BytesIO()

    def __enter__(self) -> PixelReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()
        self._reader.__exit__()

    def read_into(self, out: Pixels, frame: Frame) -> str:
        """Read the rescaled values of a frame into `out` (y, x); give a sentence if that fails."""
        if frame.fault:
            return frame.fault
        try:
            stored = self._stored(frame)
            out[...] = _rescaled(stored, frame, out.dtype)
        except UNREADABLE as error:
            out[...] = 0
            return _sentence(frame, error)
        return ""

    def _stored(self, frame: Frame) -> Pixels:
        file = frame.file
        if file.source != self._source:
            self._handle.close()
            self._source = None
            self._handle = self._open(file)
            self._source = file.source
        self._handle.seek(max(file.offset, 0))
        return decode_frame(self._handle, file, frame.index)

    def _open(self, file: PixelFile) -> BinaryIO:
        if file.offset >= 0:
            return self._reader.open_seekable(file.source)
        dataset = pydicom.dcmread(io.BytesIO(self._reader.read(file.source)), force=True)
        return io.BytesIO(dataset[file.keyword].value)


def _rescaled(stored: Pixels, frame: Frame, dtype: np.dtype[Any]) -> Pixels:
    """Apply the rescale to stored values, so inverted where 0 means white that bright is bright."""
    if _is_inverted(frame.file.options):
        stored = (_ends(frame.file.options) - stored.astype(np.int64)).astype(stored.dtype)
    if frame.slope == 1.0 and frame.intercept == 0.0:
        return stored
    values = stored.astype(dtype)
    if frame.slope != 1.0:
        values *= dtype.type(frame.slope)
    values += dtype.type(frame.intercept)
    return values


def _is_inverted(options: Mapping[str, Any]) -> bool:
    return bool(options["photometric_interpretation"] == "MONOCHROME1")


def _ends(options: Mapping[str, Any]) -> int:
    """Give the sum of the least and greatest stored value, which inversion swaps."""
    return -1 if options.get("pixel_representation") else (1 << options["bits_stored"]) - 1


def _sentence(frame: Frame, error: Exception) -> str:
    syntax = frame.file.transfer_syntax
    if isinstance(error, FileNotFoundError):
        return f"{frame.name} is no longer there; scan its folder again."
    if isinstance(error, NotImplementedError):
        return f"{frame.name} is stored as {syntax.name}, which cannot be read; export it uncompressed."
    return f"The pixels of {frame.name} ({syntax.name}) are damaged; copy it again from its source."


def _first(faults: Collection[str]) -> list[str]:
    named, more = list(faults)[:_NAMED_FAULTS], len(faults) - _NAMED_FAULTS
    return [*named, f"{more} more images could not be read and are left empty."] if more > 0 else named


def _cine(
    series: SeriesInfo,
    arranged: Arrangement,
    data: Pixels,
    read: Mapping[Place, Frame],
    faults: Sequence[str],
) -> Cine:
    grid, frames = arranged.grid, list(read.values())
    warnings = [*arranged.warnings, *faults[:_NAMED_FAULTS]]
    if len(faults) > _NAMED_FAULTS:
        warnings.append(f"{len(faults) - _NAMED_FAULTS} more images could not be read and are left empty.")
    present = np.zeros(data.shape[:2], dtype=bool)
    for place in read:
        present[place] = True
    rates = [f.heart_rate for f in frames if f.heart_rate]
    frames_of_reference = {f.frame_of_reference for f in frames}
    return Cine(
        data=data,
        geometry=arranged.geometry,
        present=present,
        phase_times=grid.phase_times,
        time_source=grid.time_source,
        time_is_guess=grid.time_is_guess,
        window=_window(frames),
        heart_rate=float(np.median(rates)) if rates else None,
        description=series.description,
        patient_id=series.patient_id,
        study_uid=series.study_uid,
        series_uid=frames[0].series.uid,
        frame_of_reference_uid=frames_of_reference.pop() if len(frames_of_reference) == 1 else "",
        source=_common_path(frames),
        frames=_table(present.shape, read),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _window(frames: Sequence[Frame]) -> tuple[float, float] | None:
    """Give the median of the frames' windows, inverted along with the values."""
    windows = []
    for frame in frames:
        if frame.window is not None:
            centre, width = frame.window
            if _is_inverted(frame.file.options):
                centre = frame.slope * _ends(frame.file.options) + 2 * frame.intercept - centre
            windows.append((centre, width))
    if not windows:
        return None
    centre, width = (float(v) for v in np.median(windows, axis=0))
    return centre - width / 2, centre + width / 2


def _table(shape: tuple[int, ...], read: Mapping[Place, Frame]) -> FrameTable:
    uids = np.full(shape, "", dtype=f"U{max(64, *(len(f.sop_uid) for f in read.values()))}")
    numbers, instances = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
    for place, frame in read.items():
        uids[place], numbers[place], instances[place] = frame.sop_uid, frame.index + 1, frame.instance_number
    return FrameTable(uids, numbers, instances)


def _common_path(frames: Sequence[Frame]) -> str:
    paths = {f.file.source.path for f in frames}
    return paths.pop() if len(paths) == 1 else os.path.commonpath([os.path.dirname(p) for p in paths])
