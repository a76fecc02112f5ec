"""Sunnybrook contours: masks survive the round trip, and real contours give the published volumes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from napari_cardioseg.domain import Cine, DataError, FrameTable, Geometry, Segmentation, SliceState, drain
from napari_cardioseg.io.contours import image_numbers, read_contour_file, read_contours, write_contours
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.io.phantom import Phantom, make_phantom

REAL = {
    "SCD0000101": "SC-HF-I-01",
    "SCD0000201": "SC-HF-I-02",
    "SCD0000301": "SC-HF-I-04",
    "SCD0000401": "SC-HF-I-05",
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(1, n_phases=4, n_slices=8, matrix=(96, 112), pixel_mm=1.6)


def _plain_cine(n_phases: int = 2, n_slices: int = 2, size: int = 16) -> Cine:
    geometry = Geometry.from_spacing((8.0, 1.0, 1.0))
    return Cine(np.zeros((n_phases, n_slices, size, size), np.int16), geometry)


def test_masks_return_exactly(phantom: Phantom, tmp_path: Path) -> None:
    written = write_contours(tmp_path / "c", phantom.truth, phantom.cine)
    assert written.warnings == ()
    back, known = read_contours(tmp_path / "c", phantom.cine)
    np.testing.assert_array_equal(back.labels, phantom.truth.labels)
    drawn = phantom.truth.labels.any(axis=(2, 3))
    np.testing.assert_array_equal(back.states == SliceState.EDITED, drawn)
    np.testing.assert_array_equal(known[..., 0], (phantom.truth.labels == 1).any(axis=(2, 3)))
    assert not known[~drawn].any()


def test_names_and_coordinates_are_sunnybrooks(tmp_path: Path) -> None:
    cine = _plain_cine()
    labels = np.zeros(cine.data.shape, np.uint8)
    labels[1, 0, 2:7, 3:9] = 2
    labels[1, 0, 4, 5:7] = 1
    written = write_contours(tmp_path, Segmentation(labels), cine)
    # 2 phases x 2 slices: the first slice comes last, so phase 1 of it is image 4.
    assert [p.name for p in written.paths] == [f"IM-0001-0004-{b}contour-manual.txt" for b in "io"]
    x, y = read_contour_file(written.paths[1]).T
    # Pixels 3 to 8 reach from 3 to 9 in coordinates counted from the corner.
    assert (x.min(), x.max(), y.min(), y.max()) == (3.0, 9.0, 2.0, 7.0)


def test_a_mask_at_the_edge_is_closed(tmp_path: Path) -> None:
    cine = _plain_cine()
    labels = np.zeros(cine.data.shape, np.uint8)
    labels[0, 1] = 1
    write_contours(tmp_path, Segmentation(labels), cine)
    np.testing.assert_array_equal(read_contours(tmp_path, cine)[0].labels, labels)


def test_parts_and_holes_are_told(tmp_path: Path) -> None:
    cine = _plain_cine()
    labels = np.zeros(cine.data.shape, np.uint8)
    labels[0, 0, 2:8, 2:8] = 1
    labels[0, 0, 4, 4] = 0
    labels[0, 0, 12, 12] = 1
    written = write_contours(tmp_path, Segmentation(labels), cine)
    assert written.warnings[0].startswith("Phase 1, slice 1: only the largest part of the cavity")
    whole = np.zeros((16, 16), np.uint8)
    whole[2:8, 2:8] = 1
    np.testing.assert_array_equal(read_contours(tmp_path, cine)[0].labels[0, 0], whole)


def test_numbers_come_from_dicom_where_they_tell_images_apart(phantom: Phantom) -> None:
    table = phantom.cine.frames
    np.testing.assert_array_equal(image_numbers(phantom.cine), table.instance_numbers)
    same = FrameTable(table.sop_uids, table.frame_numbers, np.ones_like(table.instance_numbers))
    cine = dataclasses.replace(phantom.cine, frames=same)
    np.testing.assert_array_equal(image_numbers(cine), table.instance_numbers)


def test_a_used_folder_is_refused_unless_told(phantom: Phantom, tmp_path: Path) -> None:
    write_contours(tmp_path, phantom.truth, phantom.cine)
    (tmp_path / "notes.txt").write_text("mine")
    fewer = phantom.truth.labels.copy()
    fewer[1:] = 0
    with pytest.raises(DataError, match="contour files already"):
        write_contours(tmp_path, Segmentation(fewer), phantom.cine)
    write_contours(tmp_path, Segmentation(fewer), phantom.cine, overwrite=True)
    np.testing.assert_array_equal(read_contours(tmp_path, phantom.cine)[0].labels, fewer)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_unwritable_place_is_a_sentence(phantom: Phantom, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_contours(tmp_path / "file" / "c", phantom.truth, phantom.cine)


SQUARE = "2 2\n8 2\n8 8\n2 8\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("IM-0001-0001-icontour-manual.txt", "1 2\n3\n4 5\n", "Line 2 of"),
        ("IM-0001-0001-icontour-manual.txt", "1 2\n3 x\n4 5\n", "Line 2 of"),
        ("IM-0001-0001-icontour-manual.txt", "1 2\n3 nan\n4 5\n", "not a point"),
        ("IM-0001-0001-icontour-manual.txt", "1 2\n3 4\n", "at least three"),
        ("IM-0001-0001-icontour-manual.txt", "\x00\x01", "Line 1 of"),
        ("IM-0001-0001-ocontour-manual.txt", "1 2\n300 4\n7 7\n", "reaches out of the image"),
        ("IM-0001-0099-icontour-manual.txt", SQUARE, "belongs to image 99"),
        ("readme.txt", SQUARE, "holds no contour files"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        read_contours(tmp_path, _plain_cine())


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        read_contours(tmp_path / "none", _plain_cine())


def test_folders_above_and_other_names_are_found(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "contours-manual"
    deep.mkdir(parents=True)
    (deep / "SC-HF-I-01_0001-icontour-manual.txt").write_text(SQUARE)
    segmentation, known = read_contours(tmp_path, _plain_cine())
    assert (segmentation.labels[0, 1] == 1).sum() == 36
    assert known[0, 1].tolist() == [True, False]


def test_of_several_patients_the_cines_own_is_read(tmp_path: Path) -> None:
    for patient, text in (("ANNA", SQUARE), ("BERT", "0 0\n4 0\n4 4\n0 4\n")):
        (tmp_path / patient).mkdir()
        (tmp_path / patient / "IM-0001-0001-icontour-manual.txt").write_text(text)
    with pytest.raises(DataError, match="several patients"):
        read_contours(tmp_path, _plain_cine())
    cine = dataclasses.replace(_plain_cine(), patient_id="BERT")
    assert (read_contours(tmp_path, cine)[0].labels == 1).sum() == 16


def test_one_border_has_one_contour(tmp_path: Path) -> None:
    for end in ("manual", "auto"):
        (tmp_path / f"IM-0001-0001-icontour-{end}.txt").write_text(SQUARE)
    with pytest.raises(DataError, match="two contours of one border"):
        read_contours(tmp_path, _plain_cine())


def test_outer_border_alone_leaves_the_cavity_unknown(tmp_path: Path) -> None:
    (tmp_path / "IM-0001-0001-ocontour-manual.txt").write_text(SQUARE)
    segmentation, known = read_contours(tmp_path, _plain_cine())
    assert (segmentation.labels[0, 1] == 2).sum() == 36
    assert not known.any()


def _load(folder: Path) -> Cine:
    from napari_cardioseg.io import load_cine, scan

    return drain(load_cine(drain(scan(folder)).series[0]))


def _area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@pytest.mark.sunnybrook
@pytest.mark.parametrize("patient", sorted(REAL))
def test_real_contours_give_the_reference_volumes(sunnybrook: Path, patient: str) -> None:
    cine = _load(sunnybrook / "dicom" / patient)
    folder = sunnybrook / "contours" / REAL[patient]
    reference = json.loads((sunnybrook / "reference.json").read_text())[patient]
    numbers = image_numbers(cine)
    phase_of = {int(n): t for (t, _), n in np.ndenumerate(numbers)}
    dz, dy, dx = cine.geometry.spacing
    assert dz == pytest.approx(reference["slice_distance_mm"], abs=0.01)
    volume = {"i": np.zeros(cine.n_phases), "o": np.zeros(cine.n_phases)}
    for path in folder.glob("*.txt"):
        phase = phase_of[int(path.name[8:12])]
        volume[path.name[13]][phase] += _area(read_contour_file(path)) * dz * dy * dx / 1000
    ed, es = reference["ed_phase"], reference["es_phase"]
    assert volume["i"][ed] == pytest.approx(reference["edv_ml"], abs=0.06)
    assert volume["i"][es] == pytest.approx(reference["esv_ml"], abs=0.06)
    assert 1.05 * (volume["o"] - volume["i"])[ed] == pytest.approx(reference["lv_mass_g"], abs=0.06)

    segmentation, known = read_contours(folder, cine)
    cavity = (segmentation.labels == 1).sum(axis=(1, 2, 3)) * dz * dy * dx / 1000
    # Half of the drawn points lie on pixel centres, and those pixels count as inside: 2 % on these areas.
    assert cavity[ed] == pytest.approx(reference["edv_ml"], rel=0.03)
    assert cavity[es] == pytest.approx(reference["esv_ml"], rel=0.03)
    assert set(np.flatnonzero(known[..., 0].any(axis=1))) == {ed, es}
    assert set(np.flatnonzero(known[..., 1].any(axis=1))) == {ed}


@pytest.mark.sunnybrook
def test_real_contours_are_the_real_masks_and_survive(sunnybrook: Path, tmp_path: Path) -> None:
    cine = _load(sunnybrook / "dicom" / "SCD0000301")
    segmentation, _ = read_contours(sunnybrook / "contours" / "SC-HF-I-04", cine)
    place = {int(n): where for where, n in np.ndenumerate(image_numbers(cine))}
    frames = read_frames(sunnybrook / "frames", ["SC-HF-I-04"])
    for frame in frames:
        np.testing.assert_array_equal(segmentation.labels[place[frame.instance]], frame.labels)
    write_contours(tmp_path, segmentation, cine)
    np.testing.assert_array_equal(read_contours(tmp_path, cine)[0].labels, segmentation.labels)
