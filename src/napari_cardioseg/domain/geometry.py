"""Where the voxels of a stack lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_ORTHOGONAL_COSINE = 1e-3


@dataclass(frozen=True, eq=False)
class Geometry:
    """Voxel grid of a stack of slices in the patient (DICOM's LPS coordinates).

    Parameters
    ----------
    affine : (4, 4) float64 array
        Maps a voxel's index (z, y, x, 1) to its centre (X, Y, Z, 1) in mm, LPS.
    slice_positions : tuple of float, optional
        Position of each slice along the stack's normal in mm, the first at 0, where the true
        distances are known and may differ from the affine's regular step.
    calibrated : bool
        False where the source gives no millimetres (an image folder): one pixel then counts as 1 mm.

    Raises
    ------
    ValueError
        If the affine is not an invertible 4 x 4 matrix with finite entries.
    """

    affine: NDArray[np.float64]
    slice_positions: tuple[float, ...] | None = field(default=None)
    calibrated: bool = True

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("A geometry needs a finite 4 x 4 affine.")
        if not np.array_equal(affine[3], (0, 0, 0, 1)) or abs(np.linalg.det(affine)) < 1e-12:
            raise ValueError("A geometry needs an invertible affine whose last row is 0, 0, 0, 1.")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_spacing(cls, spacing: tuple[float, float, float], *, calibrated: bool = True) -> Geometry:
        """Make an axis-aligned grid of `spacing` (z, y, x) in mm with its first voxel at the origin."""
        dz, dy, dx = spacing
        affine = np.zeros((4, 4))
        affine[0, 2], affine[1, 1], affine[2, 0], affine[3, 3] = dx, dy, dz, 1.0
        return cls(affine, calibrated=calibrated)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along z, y, x in mm."""
        dz, dy, dx = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(dz), float(dy), float(dx)

    @property
    def is_orthogonal(self) -> bool:
        """Whether the three index axes stand at right angles."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() < _ORTHOGONAL_COSINE)

    def to_patient(self, index: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map voxel indices (..., 3) in z, y, x order to patient coordinates (..., 3) in mm, LPS."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def is_close_to(self, other: Geometry, *, tolerance_mm: float = 0.01) -> bool:
        """Whether two grids agree to within `tolerance_mm` per voxel step and at the origin."""
        return bool(np.abs(self.affine - other.affine).max() <= tolerance_mm)
