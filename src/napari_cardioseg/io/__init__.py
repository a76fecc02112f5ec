"""Images in and out: DICOM, NIfTI, image folders, contours, the phantom."""

from __future__ import annotations

from napari_cardioseg.domain import Cine, Job, Progress
from napari_cardioseg.io.scan import scan
from napari_cardioseg.io.series import ScanResult, SeriesInfo

__all__ = ["ScanResult", "SeriesInfo", "load_cine", "scan"]


def load_cine(series: SeriesInfo, *, time_source: str | None = None) -> Job[Cine]:
    """Load one scanned series.

    Parameters
    ----------
    series : SeriesInfo
        As found by `scan`.
    time_source : str, optional
        One of `series.time_sources`, to order the phases by another tag than the best.

    Yields
    ------
    Progress
        Frames read so far.

    Returns
    -------
    Cine
        Data (t, z, y, x) with the slices in increasing position along their normal. Frames that are
        missing or damaged hold zeros and are not `present`; its warnings name them.

    Raises
    ------
    DataError
        If the series has a problem, none of its images can be read, or `time_source` cannot order it.
    """
    if series.kind == "nifti":
        from napari_cardioseg.io.nifti import read_nifti_cine

        yield Progress(0, 1, "Reading images")
        return read_nifti_cine(series.uid)
    from napari_cardioseg.io.dicom_load import load_dicom

    return (yield from load_dicom(series, time_source=time_source))
