"""What a scan finds: series described without their pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cardioseg.io.dicom_frame import Frame

SHORT_AXIS = "short axis"


@dataclass(frozen=True)
class SeriesInfo:
    """One stack of images that can be loaded as a cine, as far as its headers tell.

    Parameters
    ----------
    kind : str
        "dicom" or "nifti".
    uid : str
        SeriesInstanceUID, with a suffix "#2", "#3"... where one series holds several stacks; for
        NIfTI the path of the file.
    description, modality, study_uid, patient_id : str
        From the headers, empty where absent. The patient's name is never kept.
    plane : str
        "short axis", "long axis", "axial", "coronal", "sagittal", "oblique" or "unknown".
    n_slices, n_phases : int
        Size of the slice x phase grid, holes included.
    matrix : (int, int)
        Rows and columns.
    spacing : (float, float, float), optional
        Distance between voxel centres along z, y, x in mm.
    time_source : str
        The DICOM keyword that orders the phases, or "single phase" or "file order".
    time_sources : tuple of str
        Every keyword that could order them, the best first.
    time_is_guess : bool
        True where `time_source` does not state cardiac time.
    warnings : tuple of str
        Sentences about holes, repeated frames and other oddities.
    problem : str
        Why the series cannot be loaded, in a sentence; empty where it can.
    files : tuple of Frame
        The headers that loading needs, one a frame.
    """

    kind: str
    uid: str
    description: str = ""
    modality: str = ""
    study_uid: str = ""
    patient_id: str = ""
    plane: str = "unknown"
    n_slices: int = 0
    n_phases: int = 0
    matrix: tuple[int, int] = (0, 0)
    spacing: tuple[float, float, float] | None = None
    time_source: str = ""
    time_sources: tuple[str, ...] = ()
    time_is_guess: bool = False
    warnings: tuple[str, ...] = ()
    problem: str = ""
    files: tuple[Frame, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_cine(self) -> bool:
        """Whether the series can be loaded and shows more than one phase."""
        return self.n_phases > 1 and not self.problem

    @property
    def is_short_axis_cine(self) -> bool:
        """Whether this is what the plugin is made for: short-axis slices through the heartbeat."""
        return self.is_cine and self.plane == SHORT_AXIS


@dataclass(frozen=True)
class ScanResult:
    """Everything that a scan found.

    Parameters
    ----------
    series : tuple of SeriesInfo
        Short-axis cines first, then other cines, then the rest; in each the largest first.
    problems : tuple of str
        A sentence for each file that could not be used; many alike are counted in one.
    """

    series: tuple[SeriesInfo, ...] = ()
    problems: tuple[str, ...] = ()


def by_interest(series: SeriesInfo) -> tuple[bool, bool, bool, int, str]:
    """Give the sort key that puts short-axis cines first, then other cines, then the rest."""
    size = series.n_slices * series.n_phases
    return not series.is_short_axis_cine, not series.is_cine, bool(series.problem), -size, series.uid
