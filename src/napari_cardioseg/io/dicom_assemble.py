"""Put together stacks whose slices a scanner filed as one series each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os.path import commonprefix

from napari_cardioseg.io.dicom_frame import Frame
from napari_cardioseg.io.dicom_series import describe_stack
from napari_cardioseg.io.dicom_stacks import SAME_POSITION_MM, normal_of, part_stacks
from napari_cardioseg.io.series import SeriesInfo

SMALLEST_STACK = 3


def assemble_stacks(series: Sequence[SeriesInfo]) -> list[SeriesInfo]:
    """Make a series of parallel single-slice cines of one study, as some scanners export a short axis.

    Three positions at least make a stack. Of two cines at one position the one acquired last is taken: a
    slice is repeated when its first attempt failed. The single series stay as they are.
    """
    cine_of = {id(s.files[0]): s for s in series if s.n_slices == 1 and s.is_cine}
    by_study: dict[str, list[Frame]] = {}
    for cine in cine_of.values():
        by_study.setdefault(cine.study_uid, []).append(cine.files[0])
    stacks = []
    for frames in by_study.values():
        for parallel in part_stacks(frames):
            stack = _assemble([cine_of[id(frame)] for frame in parallel])
            if stack is not None:
                stacks.append(stack)
    return stacks


def _assemble(cines: Sequence[SeriesInfo]) -> SeriesInfo | None:
    kept: list[SeriesInfo] = []
    replaced: list[str] = []
    for cine in sorted(cines, key=_where_and_when):
        if kept and _where_and_when(cine)[0] - _where_and_when(kept[-1])[0] <= SAME_POSITION_MM:
            replaced.append(kept.pop().description or "without description")
        kept.append(cine)
    if len(kept) < SMALLEST_STACK:
        return None
    stack = describe_stack([frame for cine in kept for frame in cine.files], "#stack")
    warnings = [f"Put together from {len(kept)} series of one slice each.", *stack.warnings]
    if replaced:
        warnings.insert(1, f"Left out, as a later series shows the same slice: {', '.join(replaced)}.")
    return replace(
        stack,
        description=commonprefix([c.description for c in kept]).rstrip(" _-"),  # noqa: RUF071  # not a path
        warnings=tuple(warnings),
    )


def _where_and_when(cine: SeriesInfo) -> tuple[float, float]:
    """Give the position along the normal, rounded so that time decides among equals, and the clock time."""
    first = cine.files[0]
    along = float(normal_of(first) @ first.position)
    clock = max(f.times.get("AcquisitionTime", f.times.get("ContentTime", 0.0)) for f in cine.files)
    return round(along / SAME_POSITION_MM) * SAME_POSITION_MM, clock
