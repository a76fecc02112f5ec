"""Saving the work and reopening it: one NIfTI file with labels, slice states and where they came from."""

from __future__ import annotations

import colorsys
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg import __version__
from napari_cardioseg.domain import (
    LV_SCHEME,
    Cine,
    Code,
    DataError,
    Geometry,
    LabelClass,
    LabelScheme,
    Segmentation,
    SliceState,
)
from napari_cardioseg.io.nifti import LABELS_FORMAT, read_labels_with_comments, write_nifti_labels

_VERSION = 1
_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class SavedLabels:
    """Labels as they lie on disk.

    Parameters
    ----------
    segmentation : Segmentation
        Labels, scheme, slice states, uncertainty and origin.
    geometry : Geometry
        Grid of the labels, to the precision of NIfTI (float32).
    path : str
        File that was read.
    series_uid, study_uid, source, time_source, software : str
        The cine that the labels were drawn on and the version that saved them; empty where unknown.
    is_ours : bool
        False for a NIfTI file of other software: its slices that hold labels then count as EDITED, so
        that no model overwrites what somebody drew.
    """

    segmentation: Segmentation
    geometry: Geometry
    path: str
    series_uid: str = ""
    study_uid: str = ""
    source: str = ""
    time_source: str = ""
    software: str = ""
    is_ours: bool = False

    def fit_to(self, cine: Cine, *, other_series: bool = False) -> Segmentation:
        """Give the segmentation if it belongs on a cine.

        Parameters
        ----------
        cine : Cine
            The images.
        other_series : bool
            Accept labels of a series with another UID, such as an anonymised copy.

        Raises
        ------
        DataError
            If size, place, series or order of phases differ.
        """
        labels = self.segmentation.labels
        if labels.shape != cine.data.shape:
            raise DataError(
                f"{self.path} has {_size(labels.shape)}, the cine {_size(cine.data.shape)}; "
                "are these labels of another series?"
            )
        if not self.geometry.is_close_to(cine.geometry, tolerance_mm=_TOLERANCE_MM):
            raise DataError(
                f"{self.path} lies elsewhere in the patient than the cine; "
                "are these labels of another series?"
            )
        known = bool(self.series_uid and cine.series_uid)
        if known and self.series_uid != cine.series_uid and not other_series:
            raise DataError(f"{self.path} was saved for another series than the one that is open.")
        ordered = bool(self.time_source and cine.time_source) and cine.n_phases > 1
        if known and ordered and self.time_source != cine.time_source:
            raise DataError(
                f"{self.path} was drawn with phases ordered by {self.time_source}, but the cine is ordered "
                f"by {cine.time_source}; load the cine by {self.time_source} and open the labels again."
            )
        return self.segmentation


def save_labels(path: str | Path, segmentation: Segmentation, cine: Cine) -> Path:
    """Save labels with all that reopening needs; the old file stays until the new one is complete.

    The file is a plain NIfTI image for any other software; what NIfTI has no field for is JSON in a comment
    extension of its header. The patient's name and ID are not in it.

    Raises
    ------
    DataError
        If labels and cine differ in size, or the place cannot be written.
    """
    if segmentation.labels.shape != cine.data.shape:
        raise DataError(
            f"The labels have {_size(segmentation.labels.shape)}, the cine {_size(cine.data.shape)}; "
            "they cannot be saved together."
        )
    uncertainty = segmentation.uncertainty
    record = {
        "format": LABELS_FORMAT,
        "version": _VERSION,
        "software": f"napari-cardioseg {__version__}",
        "scheme": [_class_record(c) for c in segmentation.scheme],
        "states": segmentation.states.tolist(),
        "uncertainty": None if uncertainty is None else _without_nan(uncertainty),
        "origin": segmentation.origin,
        "series_uid": cine.series_uid,
        "study_uid": cine.study_uid,
        "source": cine.source,
        "time_source": cine.time_source,
    }
    comment = json.dumps(record, allow_nan=False, separators=(",", ":")).encode("ascii")
    return write_nifti_labels(path, segmentation.labels, cine.geometry, cine.phase_times, comment=comment)


def read_saved_labels(path: str | Path) -> SavedLabels:
    """Read labels that `save_labels` wrote, or those of any other software as NIfTI.

    Raises
    ------
    DataError
        If the file is damaged, holds no labels, or was written by a newer version.
    """
    labels, geometry, comments = read_labels_with_comments(path)
    ours = [comment for comment in comments if LABELS_FORMAT.encode() in comment]
    if not ours:
        return _foreign(path, labels, geometry)
    record = _parse(path, ours[0])
    try:
        segmentation = Segmentation(
            labels,
            _scheme(record["scheme"]),
            _states(record["states"], labels.shape[:2]),
            _uncertainty(record.get("uncertainty"), labels.shape[:2]),
            _text(record, "origin"),
        )
        texts = {name: _text(record, name) for name in ("series_uid", "study_uid", "source", "time_source")}
        software = _text(record, "software")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _damaged(path) from error
    unnamed = sorted(set(np.unique(labels).tolist()) - {0, *segmentation.scheme.values})
    if unnamed:
        raise DataError(f"{path} has pixels of value {unnamed[0]}, for which it names no class.")
    return SavedLabels(segmentation, geometry, str(path), **texts, software=software, is_ours=True)


def _foreign(path: str | Path, labels: NDArray[np.uint8], geometry: Geometry) -> SavedLabels:
    drawn = labels.any(axis=(2, 3))
    states = np.where(drawn, SliceState.EDITED, SliceState.EMPTY).astype(np.uint8)
    extra = sorted(set(np.unique(labels).tolist()) - {0, *LV_SCHEME.values})
    # Hues a golden angle apart stay distinct however many classes there are.
    named = (
        LabelClass(v, f"class{v}", f"class {v}", colorsys.hsv_to_rgb(0.618 * v % 1, 0.7, 0.9)) for v in extra
    )
    scheme = LabelScheme((*LV_SCHEME.classes, *named)) if extra else LV_SCHEME
    return SavedLabels(Segmentation(labels, scheme, states), geometry, str(path))


def _parse(path: str | Path, comment: bytes) -> dict[str, Any]:
    try:
        record = json.loads(comment)
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(record, dict) or type(record.get("version")) is not int:
        raise _damaged(path)
    if record["version"] > _VERSION:
        raise DataError(f"{path} was saved by a newer napari-cardioseg; update the plugin to open it.")
    return record


def _damaged(path: str | Path) -> DataError:
    return DataError(
        f"The record of slice states in {path} is damaged; open an older copy, or remove the header "
        "extension with other software to use the labels alone."
    )


def _class_record(c: LabelClass) -> dict[str, Any]:
    code = (
        None
        if c.code is None
        else {"value": c.code.value, "scheme": c.code.scheme, "meaning": c.code.meaning}
    )
    return {"value": c.value, "key": c.key, "name": c.name, "colour": list(c.colour), "code": code}


def _scheme(records: list[dict[str, Any]]) -> LabelScheme:
    classes = []
    for record in records:
        code = record.get("code")
        red, green, blue = (float(v) for v in record["colour"])
        if not all(0 <= v <= 1 for v in (red, green, blue)) or type(record["value"]) is not int:
            raise ValueError("a class has no usable colour or value")
        classes.append(
            LabelClass(
                record["value"],
                _text(record, "key"),
                _text(record, "name"),
                (red, green, blue),
                None
                if code is None
                else Code(*(_text(code, name) for name in ("value", "scheme", "meaning"))),
            )
        )
    return LabelScheme(tuple(classes))


def _states(rows: Any, grid: tuple[int, ...]) -> NDArray[np.uint8]:
    states = np.array(rows)
    if states.shape != grid or states.dtype.kind != "i":
        raise ValueError("slice states of another size")
    if states.min() < min(SliceState) or states.max() > max(SliceState):
        raise ValueError("an unknown slice state")
    return states.astype(np.uint8)


def _uncertainty(rows: Any, grid: tuple[int, ...]) -> NDArray[np.float32] | None:
    if rows is None:
        return None
    values = np.array(rows, dtype=np.float32)
    if values.shape != grid:
        raise ValueError("uncertainty of another size")
    return values


def _without_nan(values: NDArray[np.float32]) -> list[list[float | None]]:
    return [[round(float(v), 6) if np.isfinite(v) else None for v in row] for row in values]


def _text(record: dict[str, Any], name: str) -> str:
    value = record[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _size(shape: tuple[int, ...]) -> str:
    t, z, y, x = shape
    return f"{t} phases x {z} slices of {y} x {x} pixels"
