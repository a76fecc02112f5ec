"""Folders of labelled PNG frames: `images/`, `masks/` and `frames.csv`, as the training data come."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cardioseg.domain import LV_SCHEME, DataError, LabelledFrame, LabelScheme
from napari_cardioseg.domain.labels import MYOCARDIUM

_TABLE = "frames.csv"
_REQUIRED = ("patient", "instance", "epicardium_known")
_GREY_MODES = ("1", "L", "I;16", "I;16B", "I")
_MASK_MODES = (*_GREY_MODES, "P")


@dataclass(frozen=True)
class _Row:
    patient: str
    instance: int
    file_name: str
    epicardium_known: bool


def read_frames(
    folder: str | Path, patients: Sequence[str] | None = None, *, scheme: LabelScheme = LV_SCHEME
) -> list[LabelledFrame]:
    """Read a folder of labelled frames, sorted by patient and instance.

    `frames.csv` has the columns patient, instance and epicardium_known (1 where the myocardium is labelled
    too; the cavity always is); `images` and `masks` hold one `<patient>_<instance>.png` for each row.

    Parameters
    ----------
    folder : path
        Folder that holds `frames.csv`, `images` and `masks`.
    patients : sequence of str, optional
        Names of the patients to read; all by default.
    scheme : LabelScheme
        The classes that masks may hold.

    Raises
    ------
    DataError
        If a file is missing, unreadable or does not fit the table, or a patient is not in it.
    """
    folder = Path(folder)
    rows = _read_table(folder)
    _check_listing(folder, rows)
    if patients is not None:
        unknown = sorted(set(patients) - {row.patient for row in rows})
        if unknown:
            raise DataError(
                f"{folder / _TABLE} has no patient named {', '.join(unknown)}; "
                f"it has {', '.join(sorted({row.patient for row in rows}))}."
            )
        rows = [row for row in rows if row.patient in set(patients)]
    return [_read_frame(folder, row, scheme) for row in sorted(rows, key=lambda r: (r.patient, r.instance))]


def _read_table(folder: Path) -> list[_Row]:
    path = folder / _TABLE
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} has no column named {', '.join(missing)}.")
            rows = [_parse_row(path, reader.line_num, entry) for entry in reader]
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}.") from error
        raise DataError(f"{folder} has no {_TABLE}; choose the folder that holds it.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if not rows:
        raise DataError(f"{path} lists no frames.")
    seen: set[tuple[str, int]] = set()
    for row in rows:
        if (row.patient, row.instance) in seen:
            raise DataError(f"{path} lists instance {row.instance} of patient {row.patient} twice.")
        seen.add((row.patient, row.instance))
    return rows


def _parse_row(path: Path, line: int, entry: dict[str, str | None]) -> _Row:
    patient, instance, epicardium = ((entry[name] or "").strip() for name in _REQUIRED)
    if not patient or Path(patient).name != patient:
        raise DataError(f"Line {line} of {path} has no usable patient name.")
    if not (instance.isascii() and instance.isdigit()):
        raise DataError(f"Line {line} of {path}: instance {instance!r} of {patient} is not a whole number.")
    if epicardium not in ("0", "1"):
        raise DataError(f"Line {line} of {path}: epicardium_known is {epicardium!r}; it must be 0 or 1.")
    return _Row(patient, int(instance), f"{patient}_{instance}.png", epicardium == "1")


def _check_listing(folder: Path, rows: Iterable[_Row]) -> None:
    listed = {row.file_name for row in rows}
    for kind in ("images", "masks"):
        try:
            found = {path.name for path in (folder / kind).iterdir() if path.suffix.lower() == ".png"}
        except OSError as error:
            raise DataError(f"{folder / kind} cannot be read; frames need a folder named {kind}.") from error
        missing = sorted(listed - found)
        if missing:
            raise DataError(f"{folder / kind} lacks {missing[0]}, listed in {_TABLE}{_others(missing)}.")


def _others(names: Sequence[str]) -> str:
    return f" ({len(names) - 1} more like it)" if len(names) > 1 else ""


def _read_frame(folder: Path, row: _Row, scheme: LabelScheme) -> LabelledFrame:
    image_path, mask_path = folder / "images" / row.file_name, folder / "masks" / row.file_name
    image = _read_png(image_path, _GREY_MODES)
    labels = _read_png(mask_path, _MASK_MODES)
    if image.shape != labels.shape:
        raise DataError(
            f"{mask_path} is {labels.shape[1]} x {labels.shape[0]} pixels, but its image is "
            f"{image.shape[1]} x {image.shape[0]}."
        )
    foreign = sorted(set(np.unique(labels).tolist()) - {0, *scheme.values})
    if foreign:
        known_values = ", ".join(f"{c.value} ({c.name})" for c in scheme)
        raise DataError(
            f"{mask_path} has pixels of value {foreign[0]}; masks may hold 0 (background), {known_values}."
        )
    known = frozenset(scheme.values)
    if not row.epicardium_known:
        known -= {MYOCARDIUM.value}
    if set(np.unique(labels).tolist()) - {0, *known}:
        raise DataError(f"{mask_path} has myocardium, but {_TABLE} says that its epicardium is not known.")
    return LabelledFrame(row.patient, row.instance, image, labels.astype(np.uint8), known)


def _read_png(path: Path, modes: Sequence[str]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    try:
        with Image.open(path) as picture:
            if picture.mode not in modes:
                raise DataError(f"{path} is a colour picture ({picture.mode}); frames are grey, one channel.")
            pixels = np.array(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a PNG image; it may be damaged or cut short.") from error
    return pixels.astype(np.uint8) if pixels.dtype in (np.bool_, np.uint8) else pixels.astype(np.uint16)
