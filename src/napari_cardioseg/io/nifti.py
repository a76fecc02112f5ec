"""NIfTI files: cines in, labels in and out.

NIfTI counts (x, y, z, t) and points right, anterior, superior; the plugin counts (t, z, y, x) and points
left, posterior, superior as DICOM does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from numpy.typing import NDArray

from napari_cardioseg.domain import Cine, DataError, Geometry
from napari_cardioseg.io.planes import plane_of
from napari_cardioseg.io.series import SeriesInfo

SUFFIXES = (".nii", ".nii.gz")
LABELS_FORMAT = "napari-cardioseg labels"
_COMMENT = 6
_RAS_TO_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_MILLISECONDS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}
_BEAT_MS = (200.0, 3000.0)
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, HeaderTypeError)


def read_nifti_cine(path: str | Path) -> Cine:
    """Read a 2-D, 3-D or 4-D NIfTI image as a cine of one slice, one phase or many.

    Where the file states no position in the patient, its voxel size is kept and a warning says so. Phase
    times are taken from the fourth voxel size unless they cannot be those of a heartbeat.

    Raises
    ------
    DataError
        If the file is damaged, in colour, complex or of more than four dimensions.
    """
    image = _open(path)
    shape = _grid(path, image)
    geometry, warnings = _geometry(path, image)
    times, time_warnings = _phase_times(image, shape[0])
    data, data_warnings = _intensities(path, image)
    return Cine(
        data,
        geometry,
        phase_times=times,
        time_source="file order" if shape[0] > 1 else "single phase",
        window=_window(image),
        description=_stem(Path(path)),
        source=str(path),
        warnings=(*warnings, *time_warnings, *data_warnings),
    )


def describe_nifti(path: str | Path) -> SeriesInfo:
    """Describe a NIfTI image from its header; what cannot be read is told in `problem`."""
    try:
        image = _open(path)
        n_phases, n_slices, rows, columns = _grid(path, image)
        geometry, warnings = _geometry(path, image)
        if any(LABELS_FORMAT.encode() in comment for comment in _comments(image)):
            raise DataError(f"{path} holds saved labels, not images; open their cine first, then the labels.")
    except DataError as error:
        return SeriesInfo("nifti", str(path), description=_stem(Path(path)), problem=str(error))
    source = "file order" if n_phases > 1 else "single phase"
    normal = np.cross(geometry.affine[:3, 2], geometry.affine[:3, 1])
    return SeriesInfo(
        "nifti",
        str(path),
        description=_stem(Path(path)),
        plane=plane_of(_stem(Path(path)), normal / np.linalg.norm(normal), n_phases=n_phases),
        n_slices=n_slices,
        n_phases=n_phases,
        matrix=(rows, columns),
        spacing=geometry.spacing,
        time_source=source,
        time_sources=(source,),
        warnings=(*warnings, *_phase_times(image, n_phases)[1]),
    )


def read_nifti_labels(path: str | Path) -> tuple[NDArray[np.uint8], Geometry]:
    """Read labels, (t, z, y, x), and their grid.

    Raises
    ------
    DataError
        If the file cannot be read or its values are not whole numbers from 0 to 255.
    """
    labels, geometry, _ = read_labels_with_comments(path)
    return labels, geometry


def read_labels_with_comments(path: str | Path) -> tuple[NDArray[np.uint8], Geometry, tuple[bytes, ...]]:
    """Read labels as `read_nifti_labels` does, with the comment extensions of the header."""
    image = _open(path)
    _grid(path, image)
    geometry, _ = _geometry(path, image)
    values = _voxels(path, image)
    labels = values.astype(np.uint8, casting="unsafe", copy=False) if _fits_bytes(values) else None
    if labels is None:
        raise DataError(f"{path} does not hold labels: its values are not whole numbers from 0 to 255.")
    return labels, geometry, _comments(image)


def write_nifti_labels(
    path: str | Path,
    labels: NDArray[np.uint8],
    geometry: Geometry,
    phase_times: Sequence[float] | None = None,
    *,
    phase: int | None = None,
    comment: bytes | None = None,
) -> Path:
    """Write labels as (x, y, z, t), or one phase as (x, y, z); the file appears whole or not at all.

    Parameters
    ----------
    path : path
        Ends in .nii or .nii.gz.
    labels : (t, z, y, x) uint8 array
        Class values.
    geometry : Geometry
        Grid of the labels; sheared grids are kept as they are, in the sform.
    phase_times : sequence of float, optional
        Time of each phase in ms; NIfTI keeps their mean step.
    phase : int, optional
        The only phase to write.
    comment : bytes, optional
        Text for a comment extension of the header.

    Raises
    ------
    DataError
        If the name has another ending or the place cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path} must end in .nii or .nii.gz to be written as NIfTI.")
    voxels = np.asarray(labels, dtype=np.uint8).transpose(3, 2, 1, 0)
    voxels = voxels if phase is None else voxels[..., phase]
    affine = _RAS_TO_LPS @ geometry.affine[:, (2, 1, 0, 3)]
    image: Any = nib.Nifti1Image(voxels, affine)  # type: ignore[no-untyped-call]
    image.set_sform(affine, code=1)
    image.set_qform(affine if geometry.is_orthogonal else None, code=1 if geometry.is_orthogonal else 0)
    image.header.set_xyzt_units("mm", "msec")
    if phase is None:
        step = float(np.diff(phase_times).mean()) if phase_times is not None and len(phase_times) > 1 else 0.0
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    if comment is not None:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, comment))
    _save_whole(image, path)
    return path


def _save_whole(image: Any, path: Path) -> None:
    """Write beside the target, then put in its place, so that a failure leaves the old file as it was."""
    suffix = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
    temporary = path.with_name(f".cardioseg-{uuid4().hex}{suffix}")
    try:
        image.to_filename(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                f"{path} was not written: the disk is full. Free some space and save again."
            ) from error
        reason = error.strerror or str(error)
        raise DataError(f"{path} cannot be written: {reason}. Choose another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _open(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise DataError(f"{path} is not there or is not a file.")
    try:
        image = nib.load(path, mmap=False)
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read as NIfTI; it may be damaged or of another kind.") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise DataError(f"{path} is a {type(image).__name__}, not a NIfTI file; convert it first.")
    return image


def _grid(path: str | Path, image: Any) -> tuple[int, int, int, int]:
    """Check that the image is a grey stack and give its (t, z, y, x) shape."""
    dtype = image.get_data_dtype()
    if dtype.names is not None:
        raise DataError(f"{path} is a colour image; cardiac cines are grey. Export the original images.")
    if dtype.kind not in "iuf":
        raise DataError(f"{path} holds values of type {dtype}, not grey values; export the magnitude images.")
    shape = image.shape
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 4:
        sizes = " x ".join(map(str, shape))
        raise DataError(f"{path} has {len(shape)} dimensions ({sizes}); a cine has x, y, z and time.")
    if min(shape) < 1:
        raise DataError(f"{path} holds no voxels; it may be damaged.")
    columns, rows, n_slices, n_phases = (*shape, 1, 1)[:4]
    return n_phases, n_slices, rows, columns


def _voxels(path: str | Path, image: Any) -> NDArray[Any]:
    """Read the values in their own type where nothing rescales them, (t, z, y, x)."""
    try:
        values = np.asanyarray(image.dataobj)
    except (*_UNREADABLE, MemoryError) as error:
        raise DataError(f"{path} ends before its last voxel or is damaged; copy it again.") from error
    n_phases, n_slices, rows, columns = _grid(path, image)
    return np.asarray(values).reshape(columns, rows, n_slices, n_phases).transpose(3, 2, 1, 0)


def _intensities(path: str | Path, image: Any) -> tuple[NDArray[Any], tuple[str, ...]]:
    values = _voxels(path, image)
    kind = values.dtype.newbyteorder("=") if values.dtype.kind in "iu" else np.dtype(np.float32)
    values = np.ascontiguousarray(values, dtype=kind)
    broken = 0 if kind.kind in "iu" else int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), (
            f"{broken} voxels of {path} are not numbers; they are shown as 0.",
        )
    return values, ()


def _fits_bytes(values: NDArray[Any]) -> bool:
    if values.dtype == np.uint8:
        return True
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
        return False
    return values.dtype.kind in "iu" or bool((values == np.rint(values)).all())


def _comments(image: Any) -> tuple[bytes, ...]:
    contents = (e.get_content() for e in image.header.extensions if e.get_code() == _COMMENT)
    raw = (content.encode() if isinstance(content, str) else bytes(content) for content in contents)
    return tuple(content.rstrip(b"\0") for content in raw)


def _geometry(path: str | Path, image: Any) -> tuple[Geometry, tuple[str, ...]]:
    """Grid in LPS from the sform, else the qform, else the voxel size alone."""
    header = image.header
    scale = _MILLIMETRES[_units(header)[0]]
    for read in (header.get_sform, header.get_qform):
        try:
            affine = read(coded=True)[0]
        except HeaderDataError:
            continue
        if affine is None:
            continue
        affine = np.asarray(affine, dtype=np.float64)
        affine[:3] *= scale
        try:
            return Geometry(_RAS_TO_LPS @ affine[:, (2, 1, 0, 3)]), ()
        except ValueError:
            continue
    zooms = [float(z) * scale for z in (*header.get_zooms()[:3], 1.0)[:3]]
    if not all(np.isfinite(z) and z > 0 for z in zooms):
        unsized = f"{path} states no usable voxel size; one voxel counts as 1 mm and volumes are not in ml."
        return Geometry.from_spacing((1.0, 1.0, 1.0), calibrated=False), (unsized,)
    unplaced = f"{path} does not say where its voxels lie in the patient; only its voxel size is used."
    return Geometry.from_spacing((zooms[2], zooms[1], zooms[0])), (unplaced,)


def _units(header: Any) -> tuple[str, str]:
    try:
        space, time = header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"
    return str(space), str(time)


def _phase_times(image: Any, n_phases: int) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    zooms = image.header.get_zooms()
    if n_phases < 2 or len(zooms) < 4:
        return None, ()
    step = float(zooms[3])
    unit = _units(image.header)[1]
    candidates = [_MILLISECONDS[unit]] if unit in _MILLISECONDS else [1.0, 1000.0]
    for factor in candidates:
        if _BEAT_MS[0] <= n_phases * step * factor <= _BEAT_MS[1]:
            return tuple(phase * step * factor for phase in range(n_phases)), ()
    if step == 0:
        return None, ("The file states no time between phases; their order in it is kept.",)
    named = "(of no unit)" if unit == "unknown" else unit
    impossible = (
        f"The file states {step:g} {named} between phases, which no heartbeat of {n_phases} phases has; "
        "their order is kept, without times."
    )
    return None, (impossible,)


def _window(image: Any) -> tuple[float, float] | None:
    low, high = float(image.header["cal_min"]), float(image.header["cal_max"])
    return (low, high) if np.isfinite((low, high)).all() and high > low else None


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
