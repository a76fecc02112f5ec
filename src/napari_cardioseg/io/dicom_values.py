"""Plain values out of DICOM elements.

They are taken from pydicom's raw elements: converting forty elements in each of thousands of files
costs more than reading them, and real headers hold invalid dates and UIDs that nobody needs here.
"""

from __future__ import annotations

import math
import struct
import threading
import warnings
import zipfile
import zlib
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydicom.charset import decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue

# What pydicom raises on files that are not, or no longer, DICOM.
UNREADABLE = (
    InvalidDicomError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    BytesLengthException,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
CARDIAC_TIMES = (
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
)
CLOCK_TIMES = ("AcquisitionTime", "ContentTime")
GUESSED_TIMES = (*CLOCK_TIMES, "InstanceNumber")

SERIES_KEYWORDS = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "Modality",
    "SeriesDescription",
    "ProtocolName",
)
PIXEL_OPTIONS = {
    "samples_per_pixel": "SamplesPerPixel",
    "photometric_interpretation": "PhotometricInterpretation",
    "number_of_frames": "NumberOfFrames",
    "rows": "Rows",
    "columns": "Columns",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "pixel_representation": "PixelRepresentation",
}
_OTHER_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "FrameOfReferenceUID",
    "WindowCenter",
    "WindowWidth",
    "RescaleSlope",
    "RescaleIntercept",
    "HeartRate",
    "NominalInterval",
    "RRIntervalTimeNominal",
    "CardiacNumberOfImages",
    "ComplexImageComponent",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


# Plain numbers: pydicom's own tags compare in Python, which a dictionary does at every look-up.
TAGS: dict[str, int] = {
    keyword: tag_for_keyword(keyword) or 0
    for keyword in (
        *SERIES_KEYWORDS,
        *PIXEL_OPTIONS.values(),
        *_OTHER_KEYWORDS,
        *CARDIAC_TIMES,
        *GUESSED_TIMES,
    )
}
_BINARY = {"US": "u2", "UL": "u4", "FD": "f8"}
_DTYPES = {tag: _BINARY.get(dictionary_VR(tag)) for tag in TAGS.values()}
_quiet_lock = threading.Lock()


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's remarks on invalid headers from the user; never hold it across a job's yield."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Values:
    """Plain values by keyword out of (possibly raw) DICOM elements, which are keyed by their tags."""

    __slots__ = ("_charset", "_elements")

    def __init__(self, elements: Mapping[int, Any], charset: Any) -> None:
        self._elements = elements
        self._charset = charset

    def over(self, *groups: Mapping[int, Any]) -> Values:
        """Look into `groups` first."""
        return Values(ChainMap(*groups, self._elements), self._charset)  # type: ignore[arg-type]

    def raw(self, keyword: str) -> Any:
        """Give the value as it stands: bytes where pydicom has not converted it, None if absent or empty."""
        element = self._elements.get(TAGS[keyword])
        return None if element is None or element.value in (b"", "", None) else element.value

    def text(self, keyword: str) -> str:
        """Give a text, several values joined by backslashes; empty if absent."""
        value = self.raw(keyword)
        if isinstance(value, bytes):
            charset = [self._charset] if isinstance(self._charset, str) else self._charset
            value = decode_bytes(value, charset or ["iso8859"], set())
        elif isinstance(value, (list, tuple, MultiValue)):
            value = "\\".join(map(str, value))
        return "" if value is None else str(value).strip(" \0")

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Give all numbers of an element; none where it is absent, not numeric or not finite."""
        tag = TAGS[keyword]
        value = self.raw(keyword)
        if value is None:
            return ()
        if not isinstance(value, bytes):
            value = value if isinstance(value, (list, tuple, MultiValue)) else (value,)
        elif dtype := _DTYPES[tag]:
            order = "<" if self._elements[tag].is_little_endian else ">"
            value = np.frombuffer(value, order + dtype)
        else:
            value = value.strip(b" \0").split(b"\\")
        try:
            numbers = tuple(float(v) for v in value)
        except ValueError:
            return ()
        return numbers if all(map(math.isfinite, numbers)) else ()

    def number(self, keyword: str) -> float | None:
        """Give the first number of an element."""
        numbers = self.numbers(keyword)
        return numbers[0] if numbers else None

    def positive(self, keyword: str) -> float | None:
        """Give the first number if it is above zero."""
        value = self.number(keyword)
        return value if value is not None and value > 0 else None

    def integer(self, keyword: str) -> int | None:
        """Give the first number as an integer."""
        value = self.number(keyword)
        return None if value is None else int(value)

    def is_shared(self, keyword: str) -> bool:
        """Whether a value is the whole file's, not that of one frame."""
        maps = getattr(self._elements, "maps", None)
        return maps is None or not any(TAGS[keyword] in group for group in maps[:-1])
