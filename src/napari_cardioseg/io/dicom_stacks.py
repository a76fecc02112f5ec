"""Part frames into stacks, and each stack into slices along its normal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import Geometry
from napari_cardioseg.io.dicom_frame import Frame

SAME_COSINE = 0.01
SAME_SPACING = 0.001
SAME_POSITION_MM = 0.1
WHOLE_STEP = 0.05
SHIFT_MM = 1.0


@dataclass(frozen=True)
class SliceStack:
    """The slices of a stack, in increasing position along its normal.

    Parameters
    ----------
    slices : tuple of tuples of Frame
        The frames of each slice; none where a slice is missing from a regular stack.
    geometry : Geometry
        Voxel grid of the stack.
    warnings : tuple of str
        Missing slices, irregular distances, shifted slices.
    """

    slices: tuple[tuple[Frame, ...], ...]
    geometry: Geometry
    warnings: tuple[str, ...]


def part_stacks(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Part the frames of one series by matrix, orientation, pixel spacing and kind; the largest first.

    FrameOfReferenceUID is left out: anonymised cines can carry a new one in every file.
    """
    stacks: list[list[Frame]] = []
    for frame in frames:
        for stack in stacks:
            if _same_grid(frame, stack[0]):
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    return sorted(stacks, key=len, reverse=True)


def _same_grid(a: Frame, b: Frame) -> bool:
    return (
        a.matrix == b.matrix
        and a.component == b.component
        and _within(a.orientation, b.orientation, SAME_COSINE)
        and _within(a.pixel_spacing, b.pixel_spacing, SAME_SPACING)
    )


def _within(a: Sequence[float], b: Sequence[float], tolerance: float) -> bool:
    return a == b or all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def normal_of(frame: Frame) -> NDArray[np.float64]:
    """Give the unit normal of a frame's plane: row direction x column direction."""
    normal = np.cross(frame.orientation[:3], frame.orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def stack_slices(frames: Sequence[Frame]) -> SliceStack:
    """Order the frames of one stack into slices and place the stack in the patient.

    Slices are told apart by ImagePositionPatient projected on the normal; SliceLocation is not to be
    trusted. A gap of a whole number of steps is a number of missing slices. Distances that fit no
    regular step are kept as they are in `Geometry.slice_positions`.
    """
    normal = normal_of(frames[0])
    along = np.array([frame.position for frame in frames]) @ normal
    order = np.argsort(along, kind="stable")
    breaks = np.flatnonzero(np.diff(along[order]) > SAME_POSITION_MM) + 1
    groups = [tuple(frames[i] for i in group) for group in np.split(order, breaks)]
    positions = np.array([np.mean(group) for group in np.split(along[order], breaks)])
    warnings: list[str] = []

    steps = _steps(np.diff(positions))
    if steps is None:
        warnings.append(
            f"The distance between slices varies ({np.diff(positions).min():.1f} to "
            f"{np.diff(positions).max():.1f} mm); volumes use the true positions."
        )
    places = np.arange(len(groups)) if steps is None else np.concatenate(([0], np.cumsum(steps)))
    slices: list[tuple[Frame, ...]] = [()] * (int(places[-1]) + 1)
    for place, group in zip(places, groups, strict=True):
        slices[int(place)] = group
    if missing := [str(i + 1) for i, group in enumerate(slices) if not group]:
        warnings.append(
            f"{_slices(missing)} missing from the stack of {len(slices)}: the gap is a whole number of steps."
        )
    step = _slice_distance(positions, int(places[-1]), frames[0], warnings)
    geometry = Geometry(
        _affine(groups, places, normal, step, warnings),
        slice_positions=tuple(float(p) for p in positions - positions[0]) if steps is None else None,
    )
    return SliceStack(tuple(slices), geometry, tuple(warnings))


def _steps(gaps: NDArray[np.float64]) -> NDArray[np.int_] | None:
    """Express the gaps between slices in whole steps; None where they fit no step.

    The median gap is tried as the step, then the least one, if that leaves fewer slices missing than
    there are: two slices that nearly coincide are no measure of a stack.
    """
    if not len(gaps):
        return np.zeros(0, dtype=int)
    for step in (float(np.median(gaps)), float(gaps.min())):
        whole = np.rint(gaps / step).astype(int)
        regular = bool((whole >= 1).all() and (np.abs(gaps / step - whole) <= WHOLE_STEP).all())
        if regular and whole.sum() - len(gaps) < len(gaps) + 1:
            return whole
    return None


def _slice_distance(positions: NDArray[np.float64], n_steps: int, frame: Frame, warnings: list[str]) -> float:
    if n_steps:
        return float((positions[-1] - positions[0]) / n_steps)
    stated = frame.slice_spacing or frame.thickness
    if stated is None:
        warnings.append(
            "The one slice gives no thickness; 1 mm is assumed, and volumes are per mm of thickness."
        )
    return stated or 1.0


def _affine(
    groups: Sequence[tuple[Frame, ...]],
    places: NDArray[np.int_],
    normal: NDArray[np.float64],
    step: float,
    warnings: list[str],
) -> NDArray[np.float64]:
    """Build the affine of (z, y, x); slices that are shifted in their plane do not bend it."""
    first = groups[0][0]
    origins = np.array([group[0].position for group in groups])
    in_plane = origins - np.outer(origins @ normal, normal)
    shifts = np.linalg.norm(in_plane - np.median(in_plane, axis=0), axis=1)
    origin = origins[0]
    if shifted := [str(int(p) + 1) for p, s in zip(places, shifts, strict=True) if s > SHIFT_MM]:
        warnings.append(
            f"{_slices(shifted)} shifted within the plane by up to {shifts.max():.1f} mm against the others."
        )
        origin = np.median(in_plane, axis=0) + (origins[0] @ normal) * normal
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    affine = np.eye(4)
    affine[:3, 0] = normal * step
    affine[:3, 1] = column / np.linalg.norm(column) * first.pixel_spacing[0]
    affine[:3, 2] = row / np.linalg.norm(row) * first.pixel_spacing[1]
    affine[:3, 3] = origin
    return affine


def _slices(numbers: Sequence[str]) -> str:
    """Begin a sentence about slices, which users count from 1."""
    return f"Slice {numbers[0]} is" if len(numbers) == 1 else f"Slices {', '.join(numbers)} are"
