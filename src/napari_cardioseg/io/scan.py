"""Look through a folder, an archive or a file for series; headers only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cardioseg.domain import Job, Progress
from napari_cardioseg.io.series import ScanResult, SeriesInfo, by_interest
from napari_cardioseg.io.sources import Reader, Source, list_sources

if TYPE_CHECKING:
    from napari_cardioseg.io.dicom_frame import Frame
    from napari_cardioseg.io.dicom_headers import BadFileError

_BATCH = 25
_NAMED_ALIKE = 5
_NIFTI = (".nii", ".nii.gz")


def scan(path: str | Path) -> Job[ScanResult]:
    """Find every series below a path, reading headers only.

    Parameters
    ----------
    path : str or Path
        A folder (searched through all its subfolders), a zip archive of a study, a DICOMDIR, or one
        DICOM or NIfTI file. Archives are read in place; nothing is unpacked to disk.

    Yields
    ------
    Progress
        Files read so far.

    Returns
    -------
    ScanResult
        What was found; files that cannot be used are named in its problems.

    Raises
    ------
    DataError
        If the path does not exist, may not be read or is a damaged archive.
    """
    path = Path(path).expanduser()
    problems: list[str] = []
    yield Progress(0, 0, "Listing files")
    sources: list[Source] = []
    for source in list_sources(path, problems):
        sources.append(source)
        if len(sources) % 1000 == 0:
            yield Progress(0, 0, f"Listing files: {len(sources)}")
    if not sources and not problems:
        problems.append(f"{path} holds no files; choose the folder that the images are in.")

    nifti = [s for s in sources if s.name.lower().endswith(_NIFTI)]
    dicom = [s for s in sources if not s.name.lower().endswith(_NIFTI)]
    frames, bad = yield from _read_headers(dicom)
    series = _describe(frames, bad, problems)
    series += _describe_nifti(nifti, problems)
    return ScanResult(tuple(sorted(series, key=by_interest)), tuple(problems))


def _read_headers(sources: Sequence[Source]) -> Job[tuple[list[Frame], list[tuple[Source, BadFileError]]]]:
    from napari_cardioseg.io.dicom_headers import BadFileError, HeaderReader
    from napari_cardioseg.io.dicom_values import quiet_pydicom

    frames: list[Frame] = []
    bad: list[tuple[Source, BadFileError]] = []
    with Reader() as reader:
        headers = HeaderReader(reader)
        for start in range(0, len(sources), _BATCH):
            with quiet_pydicom():
                for source in sources[start : start + _BATCH]:
                    try:
                        frames += headers.read(source)
                    except BadFileError as error:
                        bad.append((source, error))
            yield Progress(min(start + _BATCH, len(sources)), len(sources), "Reading headers")
    return frames, bad


def _describe(
    frames: Sequence[Frame], bad: Sequence[tuple[Source, BadFileError]], problems: list[str]
) -> list[SeriesInfo]:
    """Describe the series, and add a sentence for each bad file to `problems`."""
    from napari_cardioseg.io.dicom_assemble import assemble_stacks
    from napari_cardioseg.io.dicom_series import describe_series, describe_unusable

    by_uid: dict[str, list[Frame]] = {}
    for frame in frames:
        by_uid.setdefault(frame.series.uid, []).append(frame)
    series = [info for group in by_uid.values() for info in describe_series(group)]
    series += assemble_stacks(series)

    unusable = {}
    for source, error in bad:
        tags = error.series
        if tags is not None and tags.uid not in by_uid and tags.uid not in unusable:
            unusable[tags.uid] = describe_unusable(tags, _sentence(source.name, error))
    problems += _sentences(bad)
    faults = dict.fromkeys(f.fault for f in frames if f.fault)
    problems += _capped(list(faults), "more files are truncated too.")
    return series + list(unusable.values())


def _sentences(bad: Sequence[tuple[Source, BadFileError]]) -> list[str]:
    """Name each bad file; of many that are alike the first few, and how many more there are."""
    alike: dict[str, list[str]] = {}
    for source, error in bad:
        alike.setdefault(error.reason, []).append(_sentence(source.name, error))
    return [s for r, group in alike.items() for s in _capped(group, f"more files are left out, as each {r}.")]


def _sentence(name: str, error: BadFileError) -> str:
    return f"{name} {error.reason} and is left out; {error.advice}."


def _capped(sentences: Sequence[str], rest: str) -> list[str]:
    if len(sentences) <= _NAMED_ALIKE + 1:
        return list(sentences)
    return [*sentences[:_NAMED_ALIKE], f"{len(sentences) - _NAMED_ALIKE} {rest}"]


def _describe_nifti(sources: Sequence[Source], problems: list[str]) -> list[SeriesInfo]:
    from napari_cardioseg.io.nifti import describe_nifti

    series = []
    for source in sources:
        if source.member:
            problems.append(f"{source.name} is a NIfTI file inside an archive; unpack it and open the file.")
            continue
        info = describe_nifti(source.path)
        if info.problem:
            problems.append(info.problem)
        series.append(info)
    return series
