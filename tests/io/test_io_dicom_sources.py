"""Folders, archives, DICOMDIRs and single files; and what is wrong with them, in sentences."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import warnings
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from io_dicom_files import COLUMNS, ROWS, assert_in_place, load, only, write_cine
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import BasicTextSRStorage, generate_uid

from napari_cardioseg.domain import DataError, Progress, drain
from napari_cardioseg.io import load_cine, scan


def zip_folder(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return archive


def test_zip_is_read_in_place(tmp_path: Path) -> None:
    write_cine(tmp_path / "study" / "series")
    archive = zip_folder(tmp_path / "study", tmp_path / "study.zip")
    before = sorted(tmp_path.rglob("*"))
    cine = load(archive)
    assert_in_place(cine)
    assert cine.source == str(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_zip_with_hostile_names_writes_nothing(tmp_path: Path) -> None:
    write_cine(tmp_path / "study")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as file:
        for i, path in enumerate(sorted((tmp_path / "study").iterdir())):
            file.write(path, f"../../{i}")
    before = sorted(tmp_path.parent.rglob("*"))
    assert_in_place(load(tmp_path / "study.zip"))
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cine(tmp_path / "study")
    (tmp_path / "study" / "bomb").write_bytes(bytes(128) + b"DICM" + bytes(1 << 20))
    archive = zip_folder(tmp_path / "study", tmp_path / "study.zip")
    monkeypatch.setattr("napari_cardioseg.io.sources.LARGEST_MEMBER", 1 << 19)
    result = drain(scan(archive))
    assert len(result.series) == 1
    assert len(result.problems) == 1
    assert "bomb" in result.problems[0]
    assert "unpack to 1 MB" in result.problems[0]


def test_damaged_zip(tmp_path: Path) -> None:
    write_cine(tmp_path / "study")
    archive = zip_folder(tmp_path / "study", tmp_path / "study.zip")
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"study\.zip is not a readable zip"):
        drain(scan(archive))


def test_damaged_member_is_a_hole(tmp_path: Path) -> None:
    write_cine(tmp_path / "study")
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "study").iterdir()):
            file.write(path, path.name)
    info = only(archive)
    damaged = bytearray(archive.read_bytes())
    pixels = (tmp_path / "study" / "IM1_2").read_bytes()[-100:]
    damaged[damaged.index(pixels) + 50] ^= 0xFF  # its check sum no longer fits
    archive.write_bytes(damaged)
    cine = drain(load_cine(info))
    assert np.argwhere(~cine.present).tolist() == [[2, 1]]
    assert any("IM1_2" in w and "damaged" in w for w in cine.warnings)


def make_dicomdir(tmp_path: Path) -> Path:
    write_cine(tmp_path / "source", change=lambda t, z, ds: ds.update(_record_tags()))
    files = FileSet()
    for path in sorted((tmp_path / "source").iterdir()):
        files.add(path)
    files.write(tmp_path / "disc")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # pydicom leaves its temporary folder to the collector
        del files
        gc.collect()
    return tmp_path / "disc"


def _record_tags() -> Dataset:
    ds = Dataset()
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber, ds.SeriesNumber = (
        "20200101",
        "101010",
        "1",
        "",
        1,
    )
    return ds


def test_dicomdir_and_the_folder_it_lies_in(tmp_path: Path) -> None:
    disc = make_dicomdir(tmp_path)
    for path in (disc, disc / "DICOMDIR"):
        result = drain(scan(path))
        assert result.problems == ()
        assert len(result.series) == 1
        assert_in_place(drain(load_cine(result.series[0])))


def test_dicomdir_names_what_is_not_there(tmp_path: Path) -> None:
    disc = make_dicomdir(tmp_path)
    lost = sorted(p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR")[3]
    lost.unlink()
    result = drain(scan(disc / "DICOMDIR"))
    assert len(result.series) == 1
    assert len(result.problems) == 1
    assert lost.name in result.problems[0]
    assert "listed in the DICOMDIR" in result.problems[0]


def test_dicomdir_of_a_copy_in_lower_case(tmp_path: Path) -> None:
    disc = make_dicomdir(tmp_path)
    for path in sorted(disc.rglob("*"), key=lambda p: -len(p.parts)):
        if path.name != "DICOMDIR":
            path.rename(path.with_name(path.name.lower()))
    assert_in_place(load(disc / "DICOMDIR"))


def test_damaged_dicomdir(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_bytes(b"no such thing" * 30)
    with pytest.raises(DataError, match="not a readable DICOMDIR"):
        drain(scan(tmp_path / "DICOMDIR"))


def test_nifti_is_found_beside_dicom_and_loaded(tmp_path: Path) -> None:
    write_cine(tmp_path / "dicom")
    image = nib.Nifti1Image(np.arange(4 * 5 * 6 * 7, dtype=np.int16).reshape(4, 5, 6, 7), np.eye(4))
    nib.save(image, tmp_path / "cine.nii.gz")
    (tmp_path / "broken.nii").write_bytes(b"broken")
    result = drain(scan(tmp_path))
    assert {s.kind for s in result.series} == {"dicom", "nifti"}
    assert len(result.problems) == 1
    assert "broken.nii" in result.problems[0]
    info = only(tmp_path / "cine.nii.gz")
    assert (info.n_slices, info.n_phases) == (6, 7)
    assert drain(load_cine(info)).data.shape == (7, 6, 5, 4)


def test_single_file(tmp_path: Path) -> None:
    write_cine(tmp_path)
    info = only(tmp_path / "IM1_2")
    assert (info.n_slices, info.n_phases) == (1, 1)


def test_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        drain(scan(tmp_path / "nowhere"))


def test_empty_folder(tmp_path: Path) -> None:
    result = drain(scan(tmp_path))
    assert result.series == ()
    assert "holds no files" in result.problems[0]


def test_unreadable_subfolder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cine(tmp_path / "good")
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def scandir(path: str | Path) -> object:  # chmod does not stop root, who runs tests in containers
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = drain(scan(tmp_path))
    assert len(result.series) == 1
    assert result.problems == (
        "The folder locked cannot be read (permission denied); check its permissions.",
    )
    with pytest.raises(DataError, match="cannot be read"):
        drain(scan(tmp_path / "locked"))


BAD = {
    "no pixel data": lambda ds: ds.__delattr__("PixelData"),
    "colour": lambda ds: ds.update(_colour()),
    "no ImagePositionPatient": lambda ds: ds.__delattr__("ImagePositionPatient"),
    "no ImageOrientationPatient": lambda ds: ds.__delattr__("ImageOrientationPatient"),
    "no PixelSpacing": lambda ds: ds.__delattr__("PixelSpacing"),
    "an invalid PixelSpacing": lambda ds: setattr(ds, "PixelSpacing", [0, 0]),
    "no SeriesInstanceUID": lambda ds: ds.__delattr__("SeriesInstanceUID"),
    "an invalid ImageOrientationPatient": lambda ds: setattr(
        ds, "ImageOrientationPatient", [0, 0, 0, 0, 0, 0]
    ),
    "a damaged header": lambda ds: setattr(ds, "BitsAllocated", 17),
    "no Rows": lambda ds: ds.__delattr__("Rows"),
}


def _colour() -> Dataset:
    ds = Dataset()
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(ROWS * COLUMNS * 3)
    return ds


@pytest.mark.parametrize("what", BAD)
def test_one_bad_file_is_named_and_the_rest_opens(tmp_path: Path, what: str) -> None:
    write_cine(tmp_path, change=lambda t, z, ds: BAD[what](ds) if (t, z) == (2, 1) else None)
    result = drain(scan(tmp_path))
    assert len(result.problems) == 1
    assert result.problems[0].startswith("IM1_2 ")
    assert what in result.problems[0]
    (info,) = result.series
    cine = drain(load_cine(info))
    assert np.argwhere(~cine.present).tolist() == [[2, 1]]
    assert_in_place(cine)


@pytest.mark.parametrize("what", [w for w in BAD if w != "no SeriesInstanceUID"])
def test_a_series_of_bad_files_is_listed_with_its_problem(tmp_path: Path, what: str) -> None:
    uid = write_cine(tmp_path, change=lambda t, z, ds: BAD[what](ds))
    result = drain(scan(tmp_path))
    (info,) = result.series
    assert info.uid == uid
    assert what in info.problem
    assert not info.is_short_axis_cine
    with pytest.raises(DataError, match=what):
        drain(load_cine(info))
    assert len(result.problems) == 6  # five named, ten counted
    assert result.problems[-1].startswith("10 more files")


def test_truncated_pixels_are_a_known_hole(tmp_path: Path) -> None:
    write_cine(tmp_path)
    whole = (tmp_path / "IM1_2").read_bytes()
    (tmp_path / "IM1_2").write_bytes(whole[:-100])
    result = drain(scan(tmp_path))
    (info,) = result.series
    assert len(result.problems) == 1
    assert result.problems[0].startswith("IM1_2 is truncated")
    assert result.problems[0] in info.warnings
    cine = drain(load_cine(info))
    assert np.argwhere(~cine.present).tolist() == [[2, 1]]
    assert result.problems[0] in cine.warnings
    assert_in_place(cine)


@pytest.mark.parametrize("length", [100, 300, 600])
def test_truncated_header_is_named(tmp_path: Path, length: int) -> None:
    write_cine(tmp_path)
    whole = (tmp_path / "IM1_2").read_bytes()
    (tmp_path / "IM1_2").write_bytes(whole[:length])
    result = drain(scan(tmp_path))
    assert len(result.series) == 1
    assert [p.split()[0] for p in result.problems] == ["IM1_2"]


def test_all_truncated(tmp_path: Path) -> None:
    write_cine(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-100])
    result = drain(scan(tmp_path))
    assert "truncated" in result.series[0].problem
    with pytest.raises(DataError, match="truncated"):
        drain(load_cine(result.series[0]))


def test_files_that_change_after_the_scan(tmp_path: Path) -> None:
    write_cine(tmp_path)
    info = only(tmp_path)
    (tmp_path / "IM0_0").unlink()
    (tmp_path / "IM1_1").write_bytes((tmp_path / "IM1_1").read_bytes()[:-100])
    cine = drain(load_cine(info))
    assert np.argwhere(~cine.present).tolist() == [[0, 0], [1, 1]]
    assert_in_place(cine)
    assert any("IM0_0 is no longer there" in w for w in cine.warnings)
    assert any("IM1_1" in w and "damaged" in w for w in cine.warnings)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(DataError, match="No image of this series can be read"):
        drain(load_cine(info))


def test_thousands_of_other_files_make_few_sentences(tmp_path: Path) -> None:
    write_cine(tmp_path / "cine")
    for i in range(300):
        (tmp_path / f"note{i:03}.txt").write_text("not an image")
    (tmp_path / ".DS_Store").write_text("x")
    result = drain(scan(tmp_path))
    assert len(result.series) == 1
    assert len(result.problems) == 6
    assert result.problems[0].startswith("note000.txt is not a DICOM file")
    assert result.problems[-1].startswith("295 more files are left out")


def test_other_dicom_objects_are_passed_over_quietly(tmp_path: Path) -> None:
    write_cine(tmp_path)
    report = pydicom.dcmread(tmp_path / "IM0_0")
    del report.PixelData, report.Rows, report.Columns
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    report.SeriesInstanceUID = generate_uid()
    report.save_as(tmp_path / "report")
    result = drain(scan(tmp_path))
    assert len(result.series) == 1
    assert result.problems == ()


def test_files_without_preamble(tmp_path: Path) -> None:
    write_cine(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    assert_in_place(load(tmp_path))


def test_dangling_link_is_named(tmp_path: Path) -> None:
    write_cine(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    result = drain(scan(tmp_path))
    assert len(result.series) == 1
    assert result.problems == ("link is a link to a file that does not exist; it was skipped.",)


def test_scan_tells_its_progress_and_can_be_cancelled(tmp_path: Path) -> None:
    write_cine(tmp_path, n_slices=4, n_phases=25)
    archive = zip_folder(tmp_path, tmp_path.parent / f"{tmp_path.name}.zip")
    for path in (tmp_path, archive):
        steps: list[Progress] = []
        drain(scan(path), steps.append)
        counted = [s for s in steps if s.total]
        assert [s.total for s in counted] == [100] * len(counted)
        assert counted[-1].done == 100
        assert len(counted) > 2
        job = scan(path)
        while next(job).done == 0:
            pass
        job.close()
        assert archive.exists()
    archive.unlink()  # on Windows this fails where a handle was left open


def test_load_can_be_cancelled(tmp_path: Path) -> None:
    write_cine(tmp_path)
    job = load_cine(only(tmp_path))
    first = next(job)
    assert 0 < first.done < first.total == 15
    job.close()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_headers_never_stop_a_scan(tmp_path: Path, seed: int) -> None:
    write_cine(tmp_path / "whole", n_slices=2, n_phases=2)
    originals = [path.read_bytes() for path in sorted((tmp_path / "whole").iterdir())]
    rng = random.Random(seed)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for i in range(40):
        header = bytearray(rng.choice(originals))
        for _ in range(rng.choice((1, 5, 50))):
            header[rng.randrange(132, len(header) - 2 * ROWS * COLUMNS)] = rng.choice(
                (0, 255, rng.randrange(256))
            )
        (damaged / f"{i}").write_bytes(header)
    result = drain(scan(tmp_path))
    assert result.problems
    for info in result.series:
        with contextlib.suppress(DataError):  # nothing else may come out
            assert drain(load_cine(info)).data.shape[2:] == info.matrix
