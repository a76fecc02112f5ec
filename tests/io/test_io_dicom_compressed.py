"""Series in the compressed transfer syntaxes that archives keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from io_dicom_files import assert_in_place, load, only, pixels_of, write_cine
from pydicom.uid import HTJ2KLossless, JPEGLSLossless, RLELossless

from napari_cardioseg.domain import DataError, drain
from napari_cardioseg.io import load_cine

LOSSLESS = {
    "JPEG Lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
}


def with_gdcm(syntax: int) -> Callable[[Path], None]:
    def compress(file: Path) -> None:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()

    return compress


def with_pydicom(syntax: str) -> Callable[[Path], None]:
    def compress(file: Path) -> None:
        ds = pydicom.dcmread(file)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(file)

    return compress


COMPRESSORS = {
    **{f"gdcm {name}": with_gdcm(syntax) for name, syntax in LOSSLESS.items()},
    "pydicom RLE": with_pydicom(RLELossless),
    "pydicom JPEG-LS": with_pydicom(JPEGLSLossless),
}


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("how", COMPRESSORS)
def test_lossless_syntaxes_come_back_bit_by_bit(tmp_path: Path, how: str, signed: bool) -> None:
    def represent(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.PixelRepresentation = int(signed)
        if signed:
            ds.PixelData = (pixels_of(t, z) - 700).astype(np.int16).tobytes()

    write_cine(tmp_path, n_slices=2, n_phases=2, change=represent)
    for file in tmp_path.iterdir():
        COMPRESSORS[how](file)
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID.is_compressed
    cine = load(tmp_path)
    assert cine.is_complete
    assert cine.warnings == ()
    for t in range(2):
        for z in range(2):
            np.testing.assert_array_equal(cine.data[t, z], pixels_of(t, z) - 700 * signed)


def test_jpeg_baseline(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(16) * 5, np.arange(24) * 5).astype(np.uint8)

    def small(t: int, z: int, ds: pydicom.Dataset) -> None:
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation = 7, 0
        ds.PixelData = (smooth + 10 * t + 20 * z).astype(np.uint8).tobytes()

    write_cine(tmp_path, n_slices=2, n_phases=2, change=small)
    for file in tmp_path.iterdir():
        with_gdcm(gdcm.TransferSyntax.JPEGBaselineProcess1)(file)
    cine = load(tmp_path)
    assert cine.is_complete
    np.testing.assert_allclose(cine.data[1, 1].astype(float), smooth + 30.0, atol=4)


def test_damaged_stream_is_a_hole(tmp_path: Path) -> None:
    write_cine(tmp_path)
    for file in tmp_path.iterdir():
        with_gdcm(LOSSLESS["JPEG Lossless"])(file)
    spoilt = tmp_path / "IM1_2"
    spoilt.write_bytes(spoilt.read_bytes()[:-120])
    cine = load(tmp_path)
    assert np.argwhere(~cine.present).tolist() == [[2, 1]]
    assert any("IM1_2" in w and "damaged" in w for w in cine.warnings)
    assert_in_place(cine)


@pytest.mark.parametrize("name", ["JPEG Lossless", "JPEG-LS"])
def test_damaged_jpeg_header_is_a_hole_and_does_not_end_the_process(tmp_path: Path, name: str) -> None:
    write_cine(tmp_path)
    for file in tmp_path.iterdir():
        with_gdcm(LOSSLESS[name])(file)
    spoilt = tmp_path / "IM1_2"
    stream = spoilt.read_bytes()
    start = stream.index(b"\xff\xd8\xff")
    for place, value in ((6, 130), (8, 99), (15, 245)):
        damaged = bytearray(stream)
        damaged[start + place] = value
        spoilt.write_bytes(damaged)
        cine = load(tmp_path)
        assert np.argwhere(~cine.present).tolist() == [[2, 1]]
        assert_in_place(cine)


def test_a_syntax_without_decoder_is_named(tmp_path: Path) -> None:
    write_cine(tmp_path)
    for file in tmp_path.iterdir():
        ds = pydicom.dcmread(file)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.file_meta.TransferSyntaxUID = HTJ2KLossless
        ds.save_as(file)
    info = only(tmp_path)
    with pytest.raises(DataError, match="High-Throughput JPEG 2000"):
        drain(load_cine(info))
