"""Folders of labelled PNG frames: what is read, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cardioseg.domain import DataError
from napari_cardioseg.io.frames import read_frames

ROWS = ["B,0002,0", "A,0010,1", "A,0009,0"]


def _png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write(folder: Path, rows: list[str], header: str = "patient,instance,epicardium_known") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "frames.csv").write_text("\n".join((header, *rows)) + "\n")
    return folder


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = _write(tmp_path / "frames", ROWS)
    for number, row in enumerate(ROWS):
        patient, instance, epicardium = row.split(",")
        mask = np.zeros((6, 8), np.uint8)
        mask[2:4, 3:5] = 1
        if epicardium == "1":
            mask[1, 3:5] = 2
        _png(folder / "images" / f"{patient}_{instance}.png", np.full((6, 8), 10 * number, np.uint8))
        _png(folder / "masks" / f"{patient}_{instance}.png", mask)
    return folder


def test_frames_come_in_order_with_what_is_known(frames: Path) -> None:
    read = read_frames(frames)
    assert [(f.patient, f.instance) for f in read] == [("A", 9), ("A", 10), ("B", 2)]
    assert [f.known for f in read] == [{1}, {1, 2}, {1}]
    assert [int(f.image[0, 0]) for f in read] == [20, 10, 0]
    assert (read[1].image.dtype, read[1].labels.dtype, read[1].labels.shape) == (np.uint8, np.uint8, (6, 8))
    assert read[1].labels[1, 3] == 2


def test_patients_can_be_chosen(frames: Path) -> None:
    assert [f.instance for f in read_frames(frames, ["B"])] == [2]
    with pytest.raises(DataError, match=r"no patient named C; it has A, B"):
        read_frames(frames, ["A", "C"])


def test_sixteen_bit_images_stay_so(frames: Path) -> None:
    _png(frames / "images" / "B_0002.png", np.full((6, 8), 3000, np.uint16))
    frame = read_frames(frames, ["B"])[0]
    assert frame.image.dtype == np.uint16
    assert frame.image.max() == 3000


def test_more_columns_and_a_byte_order_mark_do_no_harm(frames: Path) -> None:
    text = "\ufeffpatient,instance,epicardium_known,mask_from\r\n" + "".join(f"{r},png\r\n" for r in ROWS)
    (frames / "frames.csv").write_text(text, encoding="utf-8")
    assert len(read_frames(frames)) == 3


def test_a_table_may_list_a_part_of_the_folder(frames: Path) -> None:
    _write(frames, ROWS[:1])
    assert [f.patient for f in read_frames(frames)] == ["B"]


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _table(*rows: str, header: str = "patient,instance,epicardium_known") -> Callable[[Path], None]:
    return lambda folder: (_write(folder, list(rows), header), None)[1]


def _picture(name: str, pixels: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: _png(folder / name, pixels)


def _cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:45]) and None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_remove("frames.csv"), "has no frames.csv"),
        (_remove("masks/B_0002.png"), r"masks lacks B_0002\.png"),
        (_remove("images/B_0002.png"), r"images lacks B_0002\.png"),
        (_table(), "lists no frames"),
        (_table("A,1", header="patient,instance"), "no column named epicardium_known"),
        (_table("A,one,0"), "Line 2 .* not a whole number"),
        (_table("A,1,yes"), "Line 2 .* must be 0 or 1"),
        (_table("A,1"), "Line 2 .* must be 0 or 1"),
        (_table("../A,1,0"), "Line 2 .* no usable patient name"),
        (_table(*ROWS, "A,9,0"), "instance 9 of patient A twice"),
        (_picture("masks/B_0002.png", np.zeros((6, 9), np.uint8)), "9 x 6 pixels, but its image is 8 x 6"),
        (_picture("masks/B_0002.png", np.full((6, 8), 7, np.uint8)), r"B_0002\.png has pixels of value 7"),
        (_picture("masks/B_0002.png", np.full((6, 8), 2, np.uint8)), "epicardium is not known"),
        (_picture("images/B_0002.png", np.zeros((6, 8, 3), np.uint8)), "colour picture"),
        (_cut("images/B_0002.png"), r"B_0002\.png cannot be read"),
    ],
)
def test_what_is_wrong_is_named(frames: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(frames)
    with pytest.raises(DataError, match=words):
        read_frames(frames)


@pytest.mark.sunnybrook
def test_the_development_data_are_read_whole(sunnybrook: Path) -> None:
    read = read_frames(sunnybrook / "frames")
    assert len(read) == 504
    assert len({f.patient for f in read}) == 29
    assert sum(f.known == {1, 2} for f in read) == 85
