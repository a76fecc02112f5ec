"""Decode single frames, with the safest decoder that knows their transfer syntax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import JPEGExtended12Bit

from napari_cardioseg.io.dicom_frame import PixelFile

# gdcm comes last: where libjpeg only warns of a JPEG header, it ends the whole process.
_PREFERENCE = ("pydicom", "pyjpegls", "pillow", "gdcm")
_START_OF_SCAN = 0xDA
_HUFFMAN_TABLE = 0xC4
_KNOWN_SEGMENTS = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE})
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def decode_frame(handle: BinaryIO, file: PixelFile, index: int) -> NDArray[Any]:
    """Decode the stored values of one frame, (y, x).

    Parameters
    ----------
    handle : binary file
        Positioned at the first byte of the pixel element's value, to which it returns.
    file : PixelFile
        How the pixels are stored.
    index : int
        Frame within the file, from 0.

    Raises
    ------
    Exception
        Whatever the decoder raises on damaged data, one of `dicom_values.UNREADABLE`;
        NotImplementedError where nothing decodes the transfer syntax.
    """
    options: dict[str, Any] = {**file.options, "pixel_keyword": file.keyword, "pixel_vr": file.vr}
    decoder = get_decoder(file.transfer_syntax)
    plugin = _plugin(decoder, file)
    if plugin == "gdcm":
        start = handle.tell()
        check_jpeg_header(get_frame(handle, index, number_of_frames=options["number_of_frames"]), options)
        handle.seek(start)
    array, _ = decoder.as_array(handle, index=index, raw=True, decoding_plugin=plugin, **options)
    if array.shape != (options["rows"], options["columns"]):
        raise ValueError(f"its pixels are {array.shape}")
    return np.asarray(array)


def _plugin(decoder: Decoder, file: PixelFile) -> str:
    if not file.transfer_syntax.is_encapsulated:
        return ""
    available: tuple[str, ...] = decoder.available_plugins
    if file.transfer_syntax == JPEGExtended12Bit and file.options["bits_stored"] > 8:
        available = tuple(p for p in available if p != "pillow")
    for plugin in _PREFERENCE:
        if plugin in available:
            return plugin
    raise NotImplementedError(f"nothing decodes {file.transfer_syntax.name}")


def check_jpeg_header(stream: bytes, options: Mapping[str, Any]) -> None:
    """Walk the segments of a JPEG stream up to its scan (ISO/IEC 10918-1, B.1.1.4).

    Raises
    ------
    ValueError
        If a segment is damaged, or the frame is not of the size that the DICOM header states.
    """
    if stream[:2] != b"\xff\xd8":
        raise ValueError("its JPEG stream has no start")
    place = 2
    seen: set[int] = set()
    while place + 4 <= len(stream):
        marker, length = stream[place + 1], int.from_bytes(stream[place + 2 : place + 4], "big")
        if stream[place] != 0xFF or marker not in _KNOWN_SEGMENTS or length < 2:
            break
        if marker == _START_OF_SCAN:
            if _HUFFMAN_TABLE in seen and seen & _FRAME_HEADERS:
                return
            break
        segment = stream[place + 4 : place + 2 + length]
        if marker in _FRAME_HEADERS and (seen & _FRAME_HEADERS or not _fits(segment, options)):
            break
        if segment[:5] == b"JFIF\0" and segment[5:6] != b"\1":
            break
        seen.add(marker)
        place += 2 + length
    raise ValueError("the header of its JPEG stream is damaged")


def _fits(frame_header: bytes, options: Mapping[str, Any]) -> bool:
    """Whether a JPEG frame is one grey-level image of the size that the DICOM header states."""
    if len(frame_header) < 6:
        return False
    rows, columns = (int.from_bytes(frame_header[i : i + 2], "big") for i in (1, 3))
    stated = (options["rows"], options["columns"], 1)
    return (rows, columns, frame_header[5]) == stated and 2 <= frame_header[0] <= options["bits_allocated"]
