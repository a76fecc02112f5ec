"""Describe the series that a scan found, and sort out which can be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from napari_cardioseg.domain import Geometry
from napari_cardioseg.io.dicom_frame import Frame, SeriesTags
from napari_cardioseg.io.dicom_phases import PhaseGrid, order_phases
from napari_cardioseg.io.dicom_stacks import normal_of, part_stacks, stack_slices
from napari_cardioseg.io.planes import plane_of
from napari_cardioseg.io.series import SeriesInfo


@dataclass(frozen=True)
class Arrangement:
    """A stack's frames in their places in space and time."""

    grid: PhaseGrid
    geometry: Geometry
    warnings: tuple[str, ...]


def arrange(frames: Sequence[Frame], time_source: str | None = None) -> Arrangement:
    """Order the frames of one stack in space and time.

    Raises
    ------
    DataError
        If `time_source` cannot order them.
    """
    stack = stack_slices(frames)
    grid = order_phases(stack.slices, time_source)
    return Arrangement(grid, stack.geometry, stack.warnings + grid.warnings)


def describe_series(frames: Sequence[Frame]) -> list[SeriesInfo]:
    """Describe the stacks that the frames of one SeriesInstanceUID make up."""
    stacks = part_stacks(frames)
    series = []
    for i, stack in enumerate(stacks):
        suffix = f"#{i + 1}" if i else ""
        others = stacks[:i] + stacks[i + 1 :]
        series.append(describe_stack(stack, suffix, others))
    return series


def describe_stack(
    frames: Sequence[Frame], suffix: str = "", others: Sequence[Sequence[Frame]] = ()
) -> SeriesInfo:
    """Describe one stack; `suffix` makes its UID unique, `others` are the series' other stacks."""
    arranged = arrange(frames)
    tags, rows = frames[0].series, arranged.grid.frames
    warnings = [*_not_alone(others), *arranged.warnings, *_faults(frames)]
    if arranged.grid.time_is_guess:
        warnings.append(
            f"The order in time is a guess from {arranged.grid.time_source}: no tag states the cardiac time."
        )
    return SeriesInfo(
        kind="dicom",
        uid=tags.uid + suffix,
        description=tags.description,
        modality=tags.modality,
        study_uid=tags.study_uid,
        patient_id=tags.patient_id,
        plane=plane_of(frames[0].series.description, normal_of(frames[0]), n_phases=len(rows)),
        n_slices=len(rows[0]),
        n_phases=len(rows),
        matrix=frames[0].matrix,
        spacing=arranged.geometry.spacing,
        time_source=arranged.grid.time_source,
        time_sources=arranged.grid.time_sources,
        time_is_guess=arranged.grid.time_is_guess,
        warnings=tuple(warnings),
        problem=frames[0].fault if all(f.fault for f in frames) else "",
        files=tuple(frames),
    )


def describe_unusable(tags: SeriesTags, problem: str) -> SeriesInfo:
    """Describe a series none of whose files can be used."""
    return SeriesInfo(
        kind="dicom",
        uid=tags.uid,
        description=tags.description,
        modality=tags.modality,
        study_uid=tags.study_uid,
        patient_id=tags.patient_id,
        problem=problem,
    )


def _not_alone(others: Iterable[Sequence[Frame]]) -> list[str]:
    """Say what else is in the same series."""
    parts = [
        f"{len(o)} image{'s' * (len(o) > 1)} of {o[0].matrix[0]} x {o[0].matrix[1]} (first: {o[0].name})"
        for o in others
    ]
    if not parts:
        return []
    more = f" and {len(parts) - 3} more stacks" if len(parts) > 3 else ""
    listed = "; ".join(parts[:3]) + more
    return [f"The series also holds {listed}, of another matrix or orientation: listed separately."]


def _faults(frames: Sequence[Frame]) -> list[str]:
    faults = [f.fault for f in frames if f.fault]
    return faults if len(faults) <= 3 else [*faults[:2], f"{len(faults) - 2} more files are damaged like it."]
