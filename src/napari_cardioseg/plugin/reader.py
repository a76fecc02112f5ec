"""napari's door for cine MRI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from napari_cardioseg.domain import DataError, drain
from napari_cardioseg.plugin.layer_data import LayerData, cine_layer

AnyPath = str | os.PathLike[str]
Reader = Callable[[AnyPath | Sequence[AnyPath]], list[LayerData]]
_FILES_TRIED = 12
_PREAMBLE = 128
_MAGIC = b"DICM"


def get_reader(path: AnyPath | Sequence[AnyPath]) -> Reader | None:
    """Give a reader if the path looks like DICOM: the magic word in a folder's first files, or a zip.

    Never raises: napari asks every plugin about every folder.
    """
    if isinstance(path, list | tuple):
        path = path[0] if len(path) == 1 else ""
    try:
        candidate = Path(os.fspath(path))  # type: ignore[arg-type]  # a lone path by now
        return read_cine if path and _looks_like_dicom(candidate) else None
    except (OSError, ValueError, TypeError):
        return None


def read_cine(path: AnyPath | Sequence[AnyPath]) -> list[LayerData]:
    """Read the first short-axis cine at `path` as an image layer that the CardioSeg dock can work on.

    Raises
    ------
    DataError
        If there is no series that can be opened.
    """
    from napari_cardioseg.io import load_cine, scan

    if isinstance(path, list | tuple):
        path = path[0]
    where = os.fspath(path)  # type: ignore[arg-type]  # as above
    found = drain(scan(where))
    usable = [series for series in found.series if not series.problem]
    if not usable:
        reasons = [series.problem for series in found.series] + list(found.problems)
        why = reasons[0] if reasons else "It holds no images."
        raise DataError(f"No series in {where} can be opened. {why}")
    return [cine_layer(drain(load_cine(usable[0])))]


def _looks_like_dicom(path: Path) -> bool:
    if path.is_dir():
        return any(_has_magic(file) for file in islice(_first_files(path), _FILES_TRIED))
    return path.suffix.lower() == ".zip" or _has_magic(path)


def _first_files(folder: Path) -> Iterator[Path]:
    """Walk down lazily, so that the first files of a large tree come at once."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)


def _has_magic(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False
