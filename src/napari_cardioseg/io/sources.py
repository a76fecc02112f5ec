"""Where image files come from: folders, a DICOMDIR, a zip archive or one file."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from napari_cardioseg.domain import DataError

# Larger members are refused: a zip can claim terabytes in a few bytes, and no cine comes near this.
LARGEST_MEMBER = 4 << 30
_NOISE = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file, on disk or inside a zip archive.

    Parameters
    ----------
    path : str
        The file, or the archive that holds it.
    name : str
        How to name it to the user: its path below what was opened.
    member : str
        Name inside the archive; empty for a file on disk.
    """

    path: str
    name: str
    member: str = ""


class Reader:
    """Opens sources, keeping one zip archive open between its members; a context manager."""

    def __init__(self) -> None:
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, source: Source) -> tuple[BinaryIO, int]:
        """Open a source for reading and tell its size in bytes.

        Raises
        ------
        OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError
            If it cannot be opened; the last two come from an encrypted or exotic archive.
        """
        if not source.member:
            handle = open(source.path, "rb")  # noqa: SIM115  # the caller closes it
            return handle, os.fstat(handle.fileno()).st_size
        archive = self._archives.get(source.path)
        if archive is None:
            archive = self._archives[source.path] = self._stack.enter_context(zipfile.ZipFile(source.path))
        info = archive.getinfo(source.member)
        if info.file_size > LARGEST_MEMBER:
            raise OSError(f"it would unpack to {info.file_size >> 20} MB")
        return archive.open(info), info.file_size  # type: ignore[return-value]  # typed as IO[bytes]

    def read(self, source: Source) -> bytes:
        """Read a source whole; raises as `open` does."""
        handle, _ = self.open(source)
        with handle:
            return handle.read()

    def open_seekable(self, source: Source) -> BinaryIO:
        """Open a source for jumping about in; a zip member is unpacked to memory first."""
        return io.BytesIO(self.read(source)) if source.member else self.open(source)[0]


def list_sources(path: Path, problems: list[str]) -> Iterator[Source]:
    """List the files below a path; sentences about what cannot be listed go to `problems`.

    Raises
    ------
    DataError
        If the path does not exist, is a folder that may not be read or a damaged archive.
    """
    try:
        if path.is_dir():
            with os.scandir(path):
                pass  # opening it tells whether it may be read
            yield from _files_below(path, problems)
        elif zipfile.is_zipfile(path):
            yield from _members(path)
        elif path.name.upper() == "DICOMDIR":
            yield from _listed_in_dicomdir(path, problems)
        elif path.exists():
            if path.suffix.lower() == ".zip":
                raise DataError(
                    f"{path} is not a readable zip archive; copy it again, or unpack it yourself."
                )
            yield Source(str(path), path.name)
        else:
            raise DataError(f"{path} does not exist; check the path.")
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({_reason(error)}); check its permissions.") from error


def _files_below(folder: Path, problems: list[str]) -> Iterator[Source]:
    def note(error: OSError) -> None:
        where = os.path.relpath(error.filename or folder, folder)
        problems.append(f"The folder {where} cannot be read ({_reason(error)}); check its permissions.")

    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(f for f in folders if not _is_noise(f))
        for name in sorted(files):
            path = os.path.join(parent, name)
            if not _is_noise(name):
                shown = os.path.relpath(path, folder)
                if os.path.isfile(path):
                    yield Source(path, shown)
                elif os.path.islink(path):
                    problems.append(f"{shown} is a link to a file that does not exist; it was skipped.")


def _members(path: Path) -> Iterator[Source]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    for info in infos:
        if not info.is_dir() and not any(_is_noise(part) for part in PurePosixPath(info.filename).parts):
            yield Source(str(path), info.filename, info.filename)


def _listed_in_dicomdir(path: Path, problems: list[str]) -> Iterator[Source]:
    """List the files that a DICOMDIR refers to, all of which lie beside or below it (PS3.10, 8)."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    from napari_cardioseg.io.dicom_values import quiet_pydicom

    try:
        with quiet_pydicom():
            records = pydicom.dcmread(path).get("DirectoryRecordSequence", ())
            listed = [record.get("ReferencedFileID") for record in records]
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not a readable DICOMDIR; open the folder it lies in instead.") from error
    for components in filter(None, listed):
        parts = [components] if isinstance(components, str) else list(components)
        found = None if ".." in parts else _beside(path.parent, parts)
        if found is None:
            problems.append(f"{'/'.join(parts)} is listed in the DICOMDIR but is not there; copy it again.")
        else:
            yield Source(str(found), "/".join(parts))


def _beside(folder: Path, parts: list[str]) -> Path | None:
    """Find a file by its DICOMDIR name, which copying from a disc often turns into lower case."""
    for spelling in (str, str.lower):
        candidate = folder.joinpath(*(spelling(part) for part in parts))
        if candidate.is_file() and candidate.resolve().is_relative_to(folder.resolve()):
            return candidate
    return None


def _is_noise(name: str) -> bool:
    """Whether a file or folder is one that systems leave behind."""
    return (name.startswith(".") and name != "..") or name.lower() in _NOISE


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
