"""Read the headers of DICOM images into frames, without touching the pixels."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from napari_cardioseg.io.dicom_frame import Frame, PixelFile, SeriesTags
from napari_cardioseg.io.dicom_values import (
    CARDIAC_TIMES,
    CLOCK_TIMES,
    GUESSED_TIMES,
    PIXEL_OPTIONS,
    SERIES_KEYWORDS,
    TAGS,
    UNREADABLE,
    Values,
)
from napari_cardioseg.io.sources import Reader, Source

_UNDEFINED_LENGTH = 0xFFFFFFFF
_PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
# What is beyond these limits is a damaged header, not a patient.
_BITS = (1, 8, 16, 32, 64)
_MOST_FRAMES = 20_000
_FARTHEST_MM, _FINEST_MM, _COARSEST_MM = 1e5, 1e-3, 100.0
_COSINE_ERROR = 0.05
_SLOWEST_BPM, _FASTEST_BPM = 10.0, 500.0
_LARGEST_TIME = 1e9
_RAW_STARTS = (b"\x08\x00", b"\x02\x00")


class BadFileError(Exception):
    """A file that cannot be used: the reason, what to do, and its series where that is known."""

    def __init__(self, reason: str, advice: str, series: SeriesTags | None = None) -> None:
        super().__init__(reason)
        self.reason, self.advice, self.series = reason, advice, series


class HeaderReader:
    """Reads the frames of one file after another, sharing what equal headers have in common."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._series: dict[tuple[object, ...], SeriesTags] = {}
        self._options: dict[tuple[object, ...], Mapping[str, Any]] = {}

    def read(self, source: Source) -> list[Frame]:
        """Read the header of one file into frames; a DICOM object that is no image gives none.

        Raises
        ------
        BadFileError
            If the file is not DICOM, or an image that cannot be placed or shown.
        """
        series: SeriesTags | None = None
        try:
            handle, size = self._reader.open(source)
            with handle:
                dataset, header, file = self._parse(handle, source)
            if not _is_image(dataset, header, file):
                return []
            tags = self._series_of(header)
            if not tags.uid:
                raise BadFileError("has no SeriesInstanceUID", "export it again from the archive")
            series = tags
            file = _with_pixels(file)
            groups = enumerate(_per_frame(dataset, header, file))
            return [_frame(values, file, i, series, header, size) for i, values in groups]
        except BadFileError as bad:
            bad.series = series
            raise
        except UNREADABLE as error:
            raise _unreadable(error, source, series) from error

    def _parse(self, handle: BinaryIO, source: Source) -> tuple[FileDataset, Values, PixelFile | None]:
        start = handle.read(132)
        if start[128:] != b"DICM" and start[:2] not in _RAW_STARTS:
            raise InvalidDicomError
        handle.seek(0)
        seen: list[tuple[int, str]] = []

        def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
            if tag in _PIXEL_KEYWORDS:
                seen.append((tag, vr or "OW"))
            return bool(seen)

        dataset = read_partial(handle, at_pixels, force=True, specific_tags=list(TAGS.values()))
        header = Values(_by_number(dataset), dataset.original_character_set)
        if not seen:
            if any(_is_cut_short(element) for _, element in dataset.items()):
                raise BadFileError("is cut short within its header", "copy it again from its source")
            return dataset, header, None
        tag, vr = seen[0]
        implicit, little = dataset.original_encoding
        syntax = dataset.file_meta.get("TransferSyntaxUID") or (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        )
        header_bytes = 12 if not implicit and vr in EXPLICIT_VR_LENGTH_32 else 8
        offset = -1 if syntax == DeflatedExplicitVRLittleEndian else handle.tell() + header_bytes
        file = PixelFile(source, UID(syntax), offset, _PIXEL_KEYWORDS[tag], vr, self._options_of(header))
        return dataset, header, file

    def _series_of(self, header: Values) -> SeriesTags:
        key = tuple(header.raw(k) for k in SERIES_KEYWORDS)
        if key not in self._series:
            uid, study, patient, modality, description, protocol = (header.text(k) for k in SERIES_KEYWORDS)
            self._series[key] = SeriesTags(uid, study, patient, modality, description or protocol)
        return self._series[key]

    def _options_of(self, header: Values) -> Mapping[str, Any]:
        key = tuple(header.raw(k) for k in PIXEL_OPTIONS.values())
        if key not in self._options:
            options: dict[str, Any] = {n: header.integer(k) for n, k in PIXEL_OPTIONS.items()}
            options["photometric_interpretation"] = header.text("PhotometricInterpretation")
            options["number_of_frames"] = options["number_of_frames"] or 1
            self._options[key] = {name: value for name, value in options.items() if value is not None}
        return self._options[key]


def _is_cut_short(element: object) -> bool:
    return (
        isinstance(element, RawDataElement)
        and element.value is not None
        and len(element.value) < element.length < _UNDEFINED_LENGTH
    )


def _unreadable(error: Exception, source: Source, series: SeriesTags | None) -> BadFileError:
    if series is not None:
        return BadFileError("has a damaged header", "copy it again from its source", series)
    if isinstance(error, InvalidDicomError):
        return BadFileError("is not a DICOM file", "nothing to do if it is not meant to be an image")
    if isinstance(error, PermissionError):
        return BadFileError("may not be read", "change its permissions")
    if source.member and isinstance(error, (RuntimeError, zipfile.BadZipFile, zlib.error)):
        return BadFileError(
            "cannot be taken out of its zip archive", "unpack the archive yourself and open the folder"
        )
    if isinstance(error, OSError):
        return BadFileError(f"cannot be read ({error.strerror or error})", "copy it again from its source")
    return BadFileError("is a damaged DICOM file", "copy it again from its source")


def _is_image(dataset: FileDataset, header: Values, file: PixelFile | None) -> bool:
    """Whether it is meant to be an image: reports, PDFs, segmentations and DICOMDIRs are not."""
    uid = header.text("SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    if not uid and file is None:
        raise BadFileError("is a damaged DICOM file", "copy it again from its source")
    name = UID(uid).name
    return "Image" in name or (file is not None and (not name or name[0].isdigit()))


def _with_pixels(file: PixelFile | None) -> PixelFile:
    """Refuse images without pixels, with colour, or of no size."""
    if file is None:
        raise BadFileError("has no pixel data (a header only, or cut short)", "copy it again from its source")
    options = file.options
    if options.get("samples_per_pixel", 1) != 1 or options["photometric_interpretation"] == "PALETTE COLOR":
        raise BadFileError("is a colour image (a screen capture, perhaps)", "open the grey-level series")
    for name in ("rows", "columns", "bits_allocated"):
        if not options.get(name):
            raise BadFileError(f"has no {PIXEL_OPTIONS[name]}", "export it again from the archive")
    if options["bits_allocated"] not in _BITS or not 0 < options["number_of_frames"] <= _MOST_FRAMES:
        raise BadFileError("has a damaged header", "copy it again from its source")
    return file


def _per_frame(dataset: FileDataset, header: Values, file: PixelFile) -> Iterator[Values]:
    """Give the values of each frame: its functional groups, then the shared ones, then the file's own.

    The groups of an enhanced multi-frame image (PS3.3, C.7.6.16) are opened flat: each macro is a
    sequence of one item. That finds CardiacSynchronizationSequence and, in legacy-converted images,
    UnassignedPerFrameConvertedAttributesSequence alike.
    """
    if header.raw("NumberOfFrames") is None:  # some scanners add empty functional groups to single images
        yield header
        return
    n_frames = file.options["number_of_frames"]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = [_flat(group) for group in dataset.get("SharedFunctionalGroupsSequence") or ()]
    if per_frame and len(per_frame) < n_frames:
        raise BadFileError(
            f"describes {len(per_frame)} of its {n_frames} frames", "export it again from the archive"
        )
    for i in range(n_frames):
        yield header.over(*([_flat(per_frame[i])] if per_frame else []), *shared)


def _by_number(dataset: Dataset) -> dict[int, Any]:
    return {int(tag): element for tag, element in dataset.items()}


def _flat(group: Dataset) -> dict[int, Any]:
    elements: dict[int, Any] = {}
    for element in group:
        if element.VR == "SQ" and element.value and not element.tag.is_private:
            elements.update(_by_number(element.value[0]))
    return elements


def _frame(
    values: Values, file: PixelFile, index: int, series: SeriesTags, header: Values, size: int
) -> Frame:
    heart_rate, rr = _heartbeat(values)
    centre, width = values.number("WindowCenter"), values.positive("WindowWidth")
    number = header.integer("InstanceNumber")
    return Frame(
        file=file,
        index=index,
        series=series,
        sop_uid=header.text("SOPInstanceUID"),
        instance_number=-1 if number is None else number,
        position=_geometry(values, "ImagePositionPatient"),
        orientation=_geometry(values, "ImageOrientationPatient"),
        pixel_spacing=_geometry(values, "PixelSpacing"),
        thickness=_length(values, "SliceThickness"),
        slice_spacing=_length(values, "SpacingBetweenSlices"),
        times=_times(values, index, file.options["number_of_frames"]),
        rr_interval=rr,
        heart_rate=heart_rate,
        expected_phases=values.integer("CardiacNumberOfImages") or 0,
        slope=values.number("RescaleSlope") or 1.0,
        intercept=values.number("RescaleIntercept") or 0.0,
        window=None if centre is None or width is None else (centre, width),
        component=_component(values),
        frame_of_reference=header.text("FrameOfReferenceUID"),
        fault=_truncation(file, index, size),
    )


def _geometry(values: Values, keyword: str) -> tuple[float, ...]:
    numbers = values.numbers(keyword)
    if not _IS_SOUND[keyword](numbers):
        state = "an invalid" if values.raw(keyword) is not None else "no"
        raise BadFileError(
            f"has {state} {keyword}, so its place in the body is unknown",
            "export the original series again with its geometry",
        )
    return numbers


def _length(values: Values, keyword: str) -> float | None:
    length = values.number(keyword)
    return length if length is not None and _FINEST_MM < length < _COARSEST_MM else None


def _is_orientation(cosines: tuple[float, ...]) -> bool:
    """Whether six numbers are two unit vectors at a right angle, but for rounding."""
    if len(cosines) != 6:
        return False
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    off = (row @ row - 1, column @ column - 1, row @ column)
    return bool(max(map(abs, off)) < _COSINE_ERROR)


_IS_SOUND: dict[str, Callable[[tuple[float, ...]], bool]] = {
    "ImagePositionPatient": lambda p: len(p) == 3 and max(map(abs, p)) < _FARTHEST_MM,
    "ImageOrientationPatient": _is_orientation,
    "PixelSpacing": lambda s: len(s) == 2 and min(s) > _FINEST_MM and max(s) < _COARSEST_MM,
}


def _heartbeat(values: Values) -> tuple[float | None, float | None]:
    """Give the heart rate (beats per minute) and RR interval (ms), one from the other where it must be."""
    rate = values.number("HeartRate")
    rate = rate if rate is not None and _SLOWEST_BPM < rate < _FASTEST_BPM else None
    rr = values.positive("NominalInterval") or values.positive("RRIntervalTimeNominal")
    rr = rr if rr is not None and _SLOWEST_BPM < 60000.0 / rr < _FASTEST_BPM else None
    return rate or (60000.0 / rr if rr else None), rr or (60000.0 / rate if rate else None)


def _times(values: Values, index: int, n_frames: int) -> dict[str, float]:
    times = {}
    for keyword in (*CARDIAC_TIMES, *GUESSED_TIMES):
        value = _seconds(values.text(keyword)) if keyword in CLOCK_TIMES else values.number(keyword)
        if value is not None and abs(value) < _LARGEST_TIME:
            times[keyword] = value
    if n_frames > 1 and values.is_shared("InstanceNumber"):
        # The file's own number is the same for all its frames; their order in it is what it says.
        times["InstanceNumber"] = times.get("InstanceNumber", 0.0) + index / n_frames
    return times


def _seconds(time: str) -> float | None:
    """Turn a DICOM time of day, HHMMSS.ffffff, into seconds."""
    digits = time.replace(":", "").strip()
    try:
        return int(digits[:2]) * 3600.0 + int(digits[2:4] or 0) * 60.0 + float(digits[4:] or 0)
    except ValueError:
        return None


def _component(values: Values) -> str:
    """Tell phase (velocity) images from magnitude images, which vendors mix in one series."""
    stated = values.text("ComplexImageComponent")
    kinds = {stated, *values.text("ImageType").split("\\")[2:]}
    return "phase" if kinds & {"P", "PHASE", "PHASE MAP", "VELOCITY", "VELOCITY MAP"} else "magnitude"


def _truncation(file: PixelFile, index: int, size: int) -> str:
    """Tell from the file's size alone whether the pixels of an uncompressed frame are all there."""
    if file.transfer_syntax.is_compressed or file.offset < 0:
        return ""
    options = file.options
    frame_bytes = options["rows"] * options["columns"] * options["bits_allocated"] // 8
    if file.offset + (index + 1) * frame_bytes <= size:
        return ""
    return f"{file.source.name} is truncated: its pixel data end too early; copy it again from its source."
