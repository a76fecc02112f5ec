"""A cine: one stack of slices, imaged through the heartbeat."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain.geometry import Geometry


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Which source image each frame of a cine came from; every array is (t, z).

    Parameters
    ----------
    sop_uids : (t, z) array of str
        SOPInstanceUID of the frame's file, empty where there is none.
    frame_numbers : (t, z) int array
        Frame within a multi-frame file, counted from 1 as DICOM does; 0 where there is none.
    instance_numbers : (t, z) int array
        InstanceNumber of the frame's file; -1 where there is none.
    """

    sop_uids: NDArray[np.str_]
    frame_numbers: NDArray[np.int32]
    instance_numbers: NDArray[np.int32]

    def __post_init__(self) -> None:
        if not self.sop_uids.shape == self.frame_numbers.shape == self.instance_numbers.shape:
            raise ValueError("The columns of a frame table must share one (t, z) shape.")

    @classmethod
    def empty(cls, n_phases: int, n_slices: int) -> FrameTable:
        """Make the table of a cine whose frames have no DICOM source."""
        shape = (n_phases, n_slices)
        return cls(np.full(shape, "", dtype=np.str_), np.zeros(shape, np.int32), np.full(shape, -1, np.int32))


@dataclass(frozen=True, eq=False)
class Cine:
    """Images of one stack through the cardiac cycle, with all that locates them in space and time.

    Parameters
    ----------
    data : (t, z, y, x) array
        Intensities after the rescale slope and intercept; frames that are missing hold zeros.
    geometry : Geometry
        Voxel grid of the stack.
    present : (t, z) bool array, optional
        False where the source has no image; all True by default.
    phase_times : tuple of float, optional
        Time of each phase after the first in ms; None where the source gives no time.
    time_source : str
        The DICOM keyword that ordered the phases, or a plain word ("single phase", "file order").
    time_is_guess : bool
        True where that order rests on a tag that does not state cardiac time.
    window : (low, high), optional
        Display window that the scanner asked for, in units of `data`.
    heart_rate : float, optional
        Beats per minute.
    description, patient_id, study_uid, series_uid, frame_of_reference_uid : str
        From the source; empty where unknown.
    source : str
        Path that the cine was read from.
    frames : FrameTable, optional
        The source image of each frame.
    warnings : tuple of str
        Sentences about what was odd or missing, for the user.

    Raises
    ------
    ValueError
        If shapes disagree.
    """

    data: NDArray[np.integer | np.floating]
    geometry: Geometry
    present: NDArray[np.bool_] = field(default_factory=lambda: np.ones((0, 0), dtype=bool))
    phase_times: tuple[float, ...] | None = None
    time_source: str = ""
    time_is_guess: bool = False
    window: tuple[float, float] | None = None
    heart_rate: float | None = None
    description: str = ""
    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    source: str = ""
    frames: FrameTable = field(default_factory=lambda: FrameTable.empty(0, 0))
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or 0 in self.data.shape:
            raise ValueError(f"A cine's data are (t, z, y, x), not of shape {self.data.shape}.")
        grid = self.data.shape[:2]
        if self.present.size == 0:
            object.__setattr__(self, "present", np.ones(grid, dtype=bool))
        if self.frames.sop_uids.size == 0:
            object.__setattr__(self, "frames", FrameTable.empty(*grid))
        if self.present.shape != grid or self.frames.sop_uids.shape != grid:
            raise ValueError(f"The frame grid of this cine is {grid}, but its tables have another shape.")
        if self.phase_times is not None and len(self.phase_times) != grid[0]:
            raise ValueError(f"{len(self.phase_times)} phase times were given for {grid[0]} phases.")
        positions = self.geometry.slice_positions
        if positions is not None and len(positions) != grid[1]:
            raise ValueError(f"{len(positions)} slice positions were given for {grid[1]} slices.")

    @property
    def n_phases(self) -> int:
        """Number of phases (t)."""
        return int(self.data.shape[0])

    @property
    def n_slices(self) -> int:
        """Number of slices (z)."""
        return int(self.data.shape[1])

    @property
    def is_complete(self) -> bool:
        """Whether every phase of every slice has its image."""
        return bool(self.present.all())

    def display_range(self) -> tuple[float, float]:
        """Give the contrast limits to show: the scanner's window, else the 0.5 to 99.5 percentile."""
        if self.window is not None and self.window[1] > self.window[0]:
            return self.window
        places = np.argwhere(self.present)
        if not len(places):
            return (0.0, 1.0)
        sample = places[:: max(1, len(places) // 24)]
        values = self.data[sample[:, 0], sample[:, 1]].astype(np.float64)
        low, high = (float(v) for v in np.nanpercentile(values, (0.5, 99.5)))
        return (low, high) if high > low else (low, low + 1.0)
