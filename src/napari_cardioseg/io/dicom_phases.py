"""Put the frames of each slice in order of cardiac time, and align the slices with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from napari_cardioseg.domain import DataError
from napari_cardioseg.io.dicom_frame import Frame
from napari_cardioseg.io.dicom_values import CARDIAC_TIMES, GUESSED_TIMES

SINGLE_PHASE = "single phase"
FILE_ORDER = "file order"
MILLISECONDS = ("TriggerTime", "NominalCardiacTriggerDelayTime")
COUNTS = ("TemporalPositionIdentifier", "TemporalPositionIndex")
SAME_TIME = 0.25
REGULAR_STEP = 0.25
REGULAR_SHARE = 0.8
MOST_HOLES = 2.0

Slices = Sequence[Sequence[Frame]]


@dataclass(frozen=True)
class PhaseGrid:
    """The slice x phase grid of one stack.

    Parameters
    ----------
    frames : tuple of tuples of Frame or None
        `frames[t][z]`, None where there is no image.
    time_source, time_sources, time_is_guess
        As in `SeriesInfo`.
    phase_times : tuple of float, optional
        Time of each phase after the first in ms.
    warnings : tuple of str
        Repeated frames, unequal numbers of phases, holes.
    """

    frames: tuple[tuple[Frame | None, ...], ...]
    time_source: str
    time_sources: tuple[str, ...]
    time_is_guess: bool
    phase_times: tuple[float, ...] | None = None
    warnings: tuple[str, ...] = field(default=())


def order_phases(slices: Slices, time_source: str | None = None) -> PhaseGrid:
    """Rank the frames inside each slice in time and line the slices up; nothing is filled in.

    Parameters
    ----------
    slices : sequence of sequences of Frame
        Frames of each slice, in any order.
    time_source : str, optional
        Keyword to order by; by default the best that tells the frames of a slice apart.

    Raises
    ------
    DataError
        If `time_source` cannot order these frames.
    """
    warnings: list[str] = []
    slices = _without_copies(slices, warnings)
    sources = tuple(k for k in (*CARDIAC_TIMES, *GUESSED_TIMES) if _tells_apart(slices, k))
    if max(map(len, slices)) == 1:
        return _single_phase(slices, warnings)
    sources = sources or (FILE_ORDER,)
    if time_source is not None and time_source not in sources:
        raise DataError(
            f"{time_source} cannot order the phases of this series; choose {' or '.join(sources)}."
        )
    chosen = time_source or sources[0]
    if chosen == FILE_ORDER:
        times = [[float(i) for i in range(len(s))] for s in slices]
    else:
        slices = [sorted(s, key=lambda f: (f.times[chosen], f.instance_number)) for s in slices]
        slices = _without_repeats(slices, chosen, warnings)
        times = [[f.times[chosen] for f in s] for s in slices]
        if max(map(len, slices)) == 1:
            return _single_phase(slices, warnings)

    columns, n_phases = _columns(slices, times, chosen, warnings)
    grid: list[list[Frame | None]] = [[None] * len(slices) for _ in range(n_phases)]
    for z, (frames, places) in enumerate(zip(slices, columns, strict=True)):
        for frame, t in zip(frames, places, strict=True):
            grid[t][z] = frame
    rows = tuple(map(tuple, grid))
    _warn_of_holes(rows, slices, warnings)
    guess = chosen not in CARDIAC_TIMES
    return PhaseGrid(rows, chosen, sources, guess, _phase_times(rows, chosen), tuple(warnings))


def _single_phase(slices: Slices, warnings: Sequence[str]) -> PhaseGrid:
    row = tuple(s[0] if s else None for s in slices)
    return PhaseGrid((row,), SINGLE_PHASE, (), False, None, tuple(warnings))


def _without_copies(slices: Slices, warnings: list[str]) -> list[list[Frame]]:
    """Drop second copies of the same image: same UID, same place, same numbers."""
    kept: list[list[Frame]] = []
    copies = []
    for frames in slices:
        unique: dict[object, Frame] = {}
        for frame in frames:
            key = (frame.sop_uid, frame.index, frame.instance_number, tuple(frame.times.items()))
            if not frame.sop_uid or key not in unique:
                unique[key if frame.sop_uid else id(frame)] = frame
            else:
                if unique[key].fault and not frame.fault:
                    frame, unique[key] = unique[key], frame
                copies.append(frame.name)
        kept.append(list(unique.values()))
    if copies:
        warnings.append(f"{_count(copies, 'file is a second copy', 'files are second copies')} and left out.")
    return kept


def _tells_apart(slices: Slices, keyword: str) -> bool:
    """Whether a keyword is given throughout and distinguishes the frames of most slices.

    A slice counts as told apart if more than half of its frames differ, so that a repeated frame or
    a slice acquired twice does not disqualify a good tag.
    """
    frames = [f for s in slices for f in s]
    if not frames or not all(keyword in f.times for f in frames):
        return False
    filled = [s for s in slices if s]
    apart = sum(len({f.times[keyword] for f in s}) > len(s) / 2 for s in filled)
    return 2 * apart > len(filled)


def _without_repeats(slices: Slices, keyword: str, warnings: list[str]) -> list[list[Frame]]:
    """Keep one frame of those at the same place and time: the first acquired that can be read.

    Trigger times count as the same where they differ by less than a quarter of the usual step, as
    they do between two acquisitions of one slice.
    """
    steps = [np.median(np.diff([f.times[keyword] for f in s])) for s in slices if len(s) > 1]
    same = SAME_TIME * float(np.median(steps)) if keyword in MILLISECONDS else 0.0
    kept: list[list[Frame]] = []
    repeats = []
    for frames in slices:
        moments: list[list[Frame]] = []
        for frame in frames:
            if moments and frame.times[keyword] - moments[-1][0].times[keyword] <= same:
                moments[-1].append(frame)
            else:
                moments.append([frame])
        ranked = [sorted(m, key=lambda f: (bool(f.fault), f.instance_number)) for m in moments]
        kept.append([m[0] for m in ranked])
        repeats += [f.name for m in ranked for f in m[1:]]
    if repeats:
        counted = _count(repeats, "image repeats", "images repeat")
        warnings.append(f"{counted} a slice and {keyword} that others have; the first of each was kept.")
    return kept


def _columns(
    slices: Slices, times: Sequence[Sequence[float]], keyword: str, warnings: list[str]
) -> tuple[list[list[int]], int]:
    """Give each frame its phase, and the number of phases.

    Slices with as many frames as there are phases are simply ranked: their times may differ a little.
    The others go to the phases whose times are nearest. A tag that counts phases says its own place.
    """
    counts = [len(t) for t in times]
    axes, unit = _time_axes(slices, times, keyword)
    slots = _counted(axes) if keyword in COUNTS else None
    slots = slots or [_slots(axis) for axis in axes]
    n_phases = max(int(s[-1]) + 1 for s in slots if len(s))
    if all(count in (0, n_phases) for count in counts):
        return [list(range(count)) for count in counts], n_phases

    full = [i for i, s in enumerate(slots) if len(s) and s[0] == 0 and s[-1] + 1 == n_phases]
    reference = np.median([np.interp(np.arange(n_phases), slots[i], axes[i]) for i in full], axis=0)
    columns = []
    for axis, slot in zip(axes, slots, strict=True):
        if keyword in COUNTS or (len(slot) and slot[-1] + 1 == n_phases):
            columns.append([int(s) for s in slot])
        else:
            _, nearest = linear_sum_assignment((axis[:, None] - reference[None, :]) ** 2)
            columns.append(sorted(int(n) for n in nearest))
    if len(set(counts) - {0}) > 1:
        each = ", ".join(f"{n} in {c} slice{'s' * (c > 1)}" for n, c in sorted(Counter(counts).items()) if n)
        warnings.append(f"Slices have different numbers of phases ({each}); they were aligned by {unit}.")
    return columns, n_phases


def _time_axes(
    slices: Slices, times: Sequence[Sequence[float]], keyword: str
) -> tuple[list[NDArray[np.float64]], str]:
    """Bring the times of all slices to one axis, and name it."""
    axes = [np.asarray(t, dtype=np.float64) for t in times]
    if keyword in MILLISECONDS:
        beats = [[f.rr_interval for f in s if f.rr_interval] for s in slices]
        if all(b and np.median(b) >= np.ptp(a) for b, a in zip(beats, axes, strict=True) if len(a)):
            fractions = [a / np.median(b) if len(a) else a for b, a in zip(beats, axes, strict=True)]
            return fractions, f"{keyword} as a fraction of the heartbeat"
        return axes, f"{keyword} in ms"
    if keyword in CARDIAC_TIMES:
        return axes, keyword
    return [a - a[:1] for a in axes], f"{keyword}, a guess"


def _counted(axes: Sequence[NDArray[np.float64]]) -> list[NDArray[np.int_]]:
    """Give the places that a tag counting phases states: its value, or its rank among all values."""
    values = np.unique(np.concatenate(axes))
    places = np.arange(len(values))
    if np.ptp(values) < MOST_HOLES * len(values) and (values == np.rint(values)).all():
        places = (values - values[0]).astype(int)
    return [places[np.searchsorted(values, axis)] for axis in axes]


def _slots(axis: NDArray[np.float64]) -> NDArray[np.int_]:
    """Give the frames of one slice their numbers so that a doubled time step leaves a phase free.

    Only where the steps are regular otherwise; else the frames are numbered through.
    """
    if len(axis) < 3:
        return np.arange(len(axis))
    gaps = np.diff(axis)
    step = np.median(gaps)
    if step <= 0 or np.ptp(axis) >= MOST_HOLES * len(axis) * step:
        return np.arange(len(axis))
    ratio = gaps / step
    whole = np.maximum(np.rint(ratio), 1).astype(int)
    if (np.abs(ratio - whole) <= REGULAR_STEP).all() and (whole == 1).mean() >= REGULAR_SHARE:
        return np.concatenate(([0], np.cumsum(whole)))
    return np.arange(len(axis))


def _phase_times(rows: Sequence[Sequence[Frame | None]], keyword: str) -> tuple[float, ...] | None:
    """Give the median over slices of each phase's time after the first, in ms.

    A phase that no slice has lies between its neighbours.
    """
    if keyword not in MILLISECONDS:
        return None
    medians = [np.median([f.times[keyword] for f in row if f] or [np.nan]) for row in rows]
    known = np.flatnonzero(np.isfinite(medians))
    times = np.interp(np.arange(len(rows)), known, np.asarray(medians)[known])
    return tuple(float(t) for t in times - times[0])


def _warn_of_holes(
    rows: Sequence[Sequence[Frame | None]], slices: Sequence[Sequence[Frame]], warnings: list[str]
) -> None:
    holes = [
        f"slice {z + 1} phase {t + 1}"
        for z, frames in enumerate(slices)
        if frames
        for t in range(len(rows))
        if rows[t][z] is None
    ]
    if holes:
        shown = ", ".join(holes[:6]) + (f" and {len(holes) - 6} more" if len(holes) > 6 else "")
        warnings.append(f"{len(holes)} image{'s' * (len(holes) > 1)} missing, left empty: {shown}.")
    expected = max(f.expected_phases for s in slices for f in s)
    if expected > len(rows):
        warnings.append(f"The scanner states {expected} phases, {len(rows)} were found.")


def _count(names: Sequence[str], one: str, many: str) -> str:
    named = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    return f"{len(names)} {one if len(names) == 1 else many} ({named})"
