"""One DICOM image as its header describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID

from napari_cardioseg.io.sources import Source


@dataclass(frozen=True, slots=True)
class SeriesTags:
    """What all files of one series share."""

    uid: str
    study_uid: str
    patient_id: str
    modality: str
    description: str


@dataclass(frozen=True, slots=True)
class PixelFile:
    """Where the pixels of a file are and how they are stored.

    Parameters
    ----------
    source : Source
        The file.
    transfer_syntax : UID
        How the pixels are encoded.
    offset : int
        Position of the first byte of the pixel element's value; -1 in a deflated file.
    keyword, vr : str
        Name and value representation of the pixel element.
    options : mapping
        The Image Pixel module as pydicom's decoders take it.
    """

    source: Source
    transfer_syntax: UID
    offset: int
    keyword: str
    vr: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of one slice at one time.

    Parameters
    ----------
    file : PixelFile
        Where its pixels are.
    index : int
        Frame within the file, from 0.
    series : SeriesTags
        The series it belongs to.
    sop_uid : str
        SOPInstanceUID of its file.
    instance_number : int
        InstanceNumber of its file, -1 if absent.
    position : (3,) tuple of float
        Centre of its first pixel in mm, LPS.
    orientation : (6,) tuple of float
        Direction cosines along a row, then down a column.
    pixel_spacing : (float, float)
        Distance between rows and between columns in mm.
    thickness, slice_spacing : float, optional
        SliceThickness and SpacingBetweenSlices in mm.
    times : mapping
        Value of each time keyword that the header gives (ms, s or a plain count).
    rr_interval, heart_rate : float, optional
        Length of the heartbeat in ms; beats per minute.
    expected_phases : int
        CardiacNumberOfImages, 0 if absent.
    slope, intercept : float
        Rescale to the values that the scanner means.
    window : (centre, width), optional
        Display window in rescaled units.
    component : str
        "phase" for phase or velocity images, else "magnitude".
    frame_of_reference : str
        FrameOfReferenceUID.
    fault : str
        Why its pixels are known to be unreadable, in a sentence; empty if they are not.
    """

    file: PixelFile
    index: int
    series: SeriesTags
    sop_uid: str
    instance_number: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    thickness: float | None
    slice_spacing: float | None
    times: Mapping[str, float]
    rr_interval: float | None
    heart_rate: float | None
    expected_phases: int
    slope: float
    intercept: float
    window: tuple[float, float] | None
    component: str
    frame_of_reference: str
    fault: str = ""

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.file.options["rows"], self.file.options["columns"]

    @property
    def name(self) -> str:
        """How to name it to the user."""
        several = self.file.options["number_of_frames"] > 1
        return f"{self.file.source.name}, frame {self.index + 1}" if several else self.file.source.name
