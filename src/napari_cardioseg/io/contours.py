"""Contours in the text form of the Sunnybrook data: one file a border and image, one `x y` a line.

Coordinates are pixels counted from the image's corner, so the centre of the first pixel is (0.5, 0.5).
`i` is the border of the LV cavity, `o` the outer border of the myocardium. The number in a file's name is
the DICOM instance number of its image.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon
from skimage.measure import find_contours

from napari_cardioseg.domain import LV_SCHEME, Cine, DataError, Segmentation, SliceState
from napari_cardioseg.domain.labels import LV_CAVITY, MYOCARDIUM

_NAME = re.compile(r"(?P<prefix>.+)[-_](?P<number>\d+)-(?P<border>[io])contour(-(manual|auto))?\.txt", re.I)
_PREFIX = "IM-0001"


@dataclass(frozen=True)
class WrittenContours:
    """What `write_contours` left on disk.

    Parameters
    ----------
    paths : tuple of Path
        The files, in the order of image numbers.
    warnings : tuple of str
        Sentences about what one closed line cannot hold: holes, and parts besides the largest.
    """

    paths: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    path: Path
    group: tuple[Path, str]
    number: int
    border: str


def image_numbers(cine: Cine) -> NDArray[np.int32]:
    """Give the number of each image in contour file names, (t, z).

    These are DICOM's instance numbers. Where the source has none, or repeats them, images count slice by
    slice from the last slice to the first, n_phases * (n_slices - 1 - slice) + phase + 1, as scanners do.
    """
    numbers = cine.frames.instance_numbers
    stated = numbers[cine.present]
    if stated.size and stated.min() >= 0 and len(np.unique(stated)) == stated.size:
        return numbers
    phase, z = np.mgrid[: cine.n_phases, : cine.n_slices]
    return np.asarray(cine.n_phases * (cine.n_slices - 1 - z) + phase + 1, dtype=np.int32)


def write_contours(
    folder: str | Path, segmentation: Segmentation, cine: Cine, *, overwrite: bool = False
) -> WrittenContours:
    """Write `IM-0001-NNNN-icontour-manual.txt` and `-ocontour-` for every labelled image.

    Lines run half-way between the pixel centres inside and outside, so that rasterising them gives the
    same mask again.

    Parameters
    ----------
    folder : path
        Where to write; made if absent.
    segmentation : Segmentation
        Labels of the cavity (1) and the myocardium (2); other classes are not written.
    cine : Cine
        Tells the number of each image.
    overwrite : bool
        Replace all contour files of the folder; without it a folder that holds some is refused, since old
        and new lines would be read as one set.

    Raises
    ------
    DataError
        If the folder holds contours already or cannot be written.
    """
    folder = Path(folder)
    if segmentation.labels.shape != cine.data.shape:
        raise DataError("Labels and cine differ in size; the contours were not written.")
    texts, warnings = _contour_texts(segmentation.labels, cine)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
        if old and not overwrite:
            raise DataError(f"{folder} holds {len(old)} contour files already; choose an empty folder.")
        for name, text in texts.items():
            _write_whole(folder / name, text)
        for path in old:
            if path.name not in texts:
                path.unlink()
    except OSError as error:
        raise DataError(f"Contours cannot be written to {folder}: {error.strerror or error}.") from error
    return WrittenContours(tuple(folder / name for name in texts), tuple(warnings))


def read_contours(folder: str | Path, cine: Cine) -> tuple[Segmentation, NDArray[np.bool_]]:
    """Read the contours of a cine from a folder or any folder below it.

    A pixel is inside where its centre is inside a contour or on it, as in the masks that go with the
    Sunnybrook data. Contours drawn on pixel centres, as theirs are, so give 2 % more than their area.

    Parameters
    ----------
    folder : path
        Holds files such as `IM-0001-0048-icontour-manual.txt`; anything may stand before the number. Where
        there are several patients below, the one named like the cine's patient ID is taken.
    cine : Cine
        The images that the contours were drawn on.

    Returns
    -------
    segmentation : Segmentation
        Labels of `LV_SCHEME`; slices with a contour count as EDITED.
    known : (t, z, class) bool array
        Which classes, in the order of the scheme, somebody outlined on each image. The myocardium is known
        only where both borders are.

    Raises
    ------
    DataError
        If there are no contours, a file is malformed, or the cine has no image of its number.
    """
    files = _find(Path(folder), cine)
    places = {
        int(number): place for place, number in np.ndenumerate(image_numbers(cine)) if cine.present[place]
    }
    labels = np.zeros(cine.data.shape, dtype=np.uint8)
    known = np.zeros((cine.n_phases, cine.n_slices, len(LV_SCHEME)), dtype=bool)
    found: dict[tuple[int, ...], set[str]] = {}
    # The outer border first: the cavity lies over what it fills.
    for file in sorted(files, key=lambda f: (f.border == "i", f.number)):
        place = places.get(file.number)
        if place is None:
            raise DataError(
                f"{file.path} belongs to image {file.number}, which the cine does not have; "
                "are these contours of another series?"
            )
        value = LV_CAVITY.value if file.border == "i" else MYOCARDIUM.value
        labels[place][_fill(file.path, labels.shape[2:])] = value
        found.setdefault(place, set()).add(file.border)
    states = np.full(known.shape[:2], SliceState.EMPTY, dtype=np.uint8)
    for place, borders in found.items():
        states[place] = SliceState.EDITED
        known[place] = ("i" in borders, borders == {"i", "o"})
    return Segmentation(labels, LV_SCHEME, states), known


def read_contour_file(path: str | Path) -> NDArray[np.float64]:
    """Read one contour as (n, 2) points x, y in pixels from the image's corner.

    Raises
    ------
    DataError
        If a line is not two numbers or there are fewer than three.
    """
    points = []
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a contour; it is no text file.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            x, y = (float(word) for word in line.replace(",", " ").split())
        except ValueError as error:
            raise DataError(
                f"Line {number} of {path} is not a pair of numbers: {line.strip()[:40]!r}."
            ) from error
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DataError(f"Line {number} of {path} is not a point: {line.strip()[:40]!r}.")
        points.append((x, y))
    if len(points) < 3:
        raise DataError(f"{path} has {len(points)} points; a contour needs at least three.")
    return np.array(points)


def _fill(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    x, y = read_contour_file(path).T
    n_rows, n_columns = shape
    if x.min() < -1 or y.min() < -1 or x.max() > n_columns + 1 or y.max() > n_rows + 1:
        raise DataError(
            f"{path} reaches out of the image of {n_columns} x {n_rows} pixels; "
            "are these contours of another series?"
        )
    rows, columns = polygon(y - 0.5, x - 0.5, (n_rows, n_columns))  # type: ignore[no-untyped-call]
    return rows, columns


def _find(folder: Path, cine: Cine) -> list[_File]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; choose the folder that holds the contour files.")
    files = []
    for path in sorted(folder.rglob("*.txt")):
        match = _NAME.fullmatch(path.name)
        if match:
            group = (path.parent, match["prefix"])
            files.append(_File(path, group, int(match["number"]), match["border"].lower()))
    if not files:
        raise DataError(f"{folder} holds no contour files such as IM-0001-0048-icontour-manual.txt.")
    if len({file.group for file in files}) > 1:
        files = [file for file in files if _names_patient(file, folder, cine)]
    groups = {file.group for file in files}
    if len(groups) != 1:
        raise DataError(f"{folder} holds contours of several patients or readers; choose the folder of one.")
    _check_unique(files)
    return files


def _names_patient(file: _File, folder: Path, cine: Cine) -> bool:
    names = (*file.path.relative_to(folder).parent.parts, file.group[1])
    return bool(cine.patient_id) and cine.patient_id in names


def _check_unique(files: Iterable[_File]) -> None:
    seen: dict[tuple[int, str], Path] = {}
    for file in files:
        other = seen.setdefault((file.number, file.border), file.path)
        if other != file.path:
            raise DataError(f"{other.name} and {file.path.name} are two contours of one border; keep one.")


def _contour_texts(labels: NDArray[np.uint8], cine: Cine) -> tuple[Mapping[str, str], list[str]]:
    """Text of each file by its name, and what was left out."""
    numbers = image_numbers(cine)
    texts: dict[str, str] = {}
    warnings: list[str] = []
    drawn = np.isin(labels, (LV_CAVITY.value, MYOCARDIUM.value)).any(axis=(2, 3)) & cine.present
    for phase, z in sorted(np.argwhere(drawn).tolist(), key=lambda place: int(numbers[tuple(place)])):
        plane = labels[phase, z]
        cavity = plane == LV_CAVITY.value
        borders = {"i": cavity, "o": cavity | (plane == MYOCARDIUM.value)}
        if not (borders["o"] & ~cavity).any():
            del borders["o"]
        for border, mask in borders.items():
            if not mask.any():
                continue
            whole = _largest_filled(mask)
            if not np.array_equal(whole, mask):
                what = "cavity" if border == "i" else "outer border"
                warnings.append(
                    f"Phase {phase + 1}, slice {z + 1}: only the largest part of the {what} was written, "
                    "its holes filled, as a contour is one closed line."
                )
            name = f"{_PREFIX}-{int(numbers[phase, z]):04d}-{border}contour-manual.txt"
            texts[name] = _line_text(whole)
    return texts, warnings


def _largest_filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=bool)


def _line_text(mask: NDArray[np.bool_]) -> str:
    # The frame of zeros closes lines at the image's edge; it shifts by one, pixel centres by one half.
    padded = np.pad(mask, 1).astype(np.float64)
    line = max(find_contours(padded, 0.5), key=len) - 0.5  # type: ignore[no-untyped-call]
    return "".join(f"{x:.2f} {y:.2f}\n" for y, x in line[:-1])


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".cardioseg-{uuid4().hex}.tmp")
    try:
        temporary.write_text(text, encoding="ascii", newline="\n")
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
