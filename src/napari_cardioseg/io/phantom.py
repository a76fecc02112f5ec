"""A synthetic beating short-axis cine whose volumes, ejection fraction and mass are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from scipy import ndimage

from napari_cardioseg.domain import Cine, ConfigError, FrameTable, Geometry, Segmentation, SliceState
from napari_cardioseg.io.phantom_canvas import Canvas, Plane, texture
from napari_cardioseg.io.phantom_heart import (
    MYOCARDIAL_DENSITY,
    HeartGrid,
    HeartShape,
    heart_labels,
    paint_heart,
)
from napari_cardioseg.io.phantom_thorax import Thorax, coil_sensitivity

_BLOOD_SIGNAL = 300.0
_DISPLAY_WINDOW = (0.0, 480.0)
_FIELD_RADIUS = 0.46
_HEART_REGION_MM = 82.0
# Directions of a usual short axis: image right is left-posterior, down is inferior, and the normal
# runs from apex to base.
_ROW = np.array((0.70, 0.66, 0.27))
_COLUMN = np.array((0.03, 0.35, -0.94))


@dataclass(frozen=True)
class PhantomRecipe:
    """What to simulate; equal recipes give equal phantoms.

    Parameters
    ----------
    seed : int
        Draws the surroundings, the misalignment, the texture and the noise.
    n_phases, n_slices : int
        Phases of the beat, and slices from below the apex (first) to above the base (last).
    matrix : (rows, columns)
        Size of an image.
    pixel_mm : float
        Pixel size.
    slice_mm : float, optional
        Distance of slices; by default the one with which the stack just covers the ventricle.
    edv_ml, ejection_fraction, lv_mass_g : float
        End-diastolic volume, ejection fraction in % and mass of the left ventricle.
    heart_rate : float
        Beats per minute.
    noise : float
        Deviation of the Rician noise as a part of the blood's signal.
    bias : float
        Strength of the surface coil's brightness fall-off; 0 for none, 1 as usual.
    misalignment_mm : float
        Deviation of the in-plane shift of each slice, as unequal breath-holds cause it.

    Raises
    ------
    ConfigError
        If no heart can be made so.
    """

    seed: int = 0
    n_phases: int = 20
    n_slices: int = 12
    matrix: tuple[int, int] = (256, 256)
    pixel_mm: float = 1.3672
    slice_mm: float | None = None
    edv_ml: float = 160.0
    ejection_fraction: float = 58.0
    lv_mass_g: float = 115.0
    heart_rate: float = 62.0
    noise: float = 0.03
    bias: float = 1.0
    misalignment_mm: float = 0.8

    def __post_init__(self) -> None:
        if self.n_phases < 2 or self.n_slices < 4 or min(self.matrix) < 32:
            raise ConfigError("A phantom needs at least 2 phases, 4 slices and 32 x 32 pixels.")
        if min(self.pixel_mm, self.edv_ml, self.lv_mass_g, self.heart_rate, self.slice_distance_mm) <= 0:
            raise ConfigError(
                "A phantom's pixel size, slice distance, volume, mass and heart rate are above 0."
            )
        if not 0 <= self.ejection_fraction < 90:
            raise ConfigError("A phantom's ejection fraction is in %, from 0 to below 90.")
        if min(self.noise, self.bias, self.misalignment_mm) < 0:
            raise ConfigError("A phantom's noise, bias and misalignment are 0 or more.")
        if (self.n_slices - 1) * self.slice_distance_mm < self.length_mm:
            needed = math.ceil(self.length_mm / self.slice_distance_mm) + 1
            raise ConfigError(
                f"{self.n_slices} slices of {self.slice_distance_mm:g} mm do not cover the phantom's "
                f"ventricle of {self.length_mm:.0f} mm; ask for at least {needed} slices."
            )

    @property
    def length_mm(self) -> float:
        """Length of the ventricle at end-diastole."""
        return 100.0 * float(np.cbrt(self.edv_ml / 160.0))

    @property
    def slice_distance_mm(self) -> float:
        """Distance between the centres of neighbouring slices."""
        return self.slice_mm if self.slice_mm is not None else self.length_mm / (self.n_slices - 2)

    @property
    def es_phase(self) -> int:
        """Phase of end-systole, a third into the beat; end-diastole is phase 0."""
        return max(1, round(0.36 * self.n_phases))

    def heights(self) -> NDArray[np.float64]:
        """Height of each slice's centre above the epicardial apex in mm, (z,)."""
        # The base lies half-way between the last two slices, so that discs fill the cavity to its rim.
        steps = np.arange(self.n_slices, dtype=np.float64) - (self.n_slices - 1.5)
        return self.length_mm + steps * self.slice_distance_mm

    def shapes(self) -> list[HeartShape]:
        """Shape of the heart at each phase."""
        # The base descends by whole slices (about 13 mm), for the same reason.
        descent = round(13.0 / self.slice_distance_mm) * self.slice_distance_mm
        esv = self.edv_ml * (1 - self.ejection_fraction / 100)
        wall = self.lv_mass_g / MYOCARDIAL_DENSITY
        return [
            HeartShape.at(
                float(c),
                edv_ml=self.edv_ml,
                esv_ml=esv,
                wall_ml=wall,
                length_mm=self.length_mm,
                descent_mm=descent,
            )
            for c in _contraction(self.n_phases, self.es_phase)
        ]


@dataclass(frozen=True)
class Phantom:
    """A simulated cine with its truth.

    Parameters
    ----------
    cine : Cine
        The images, int16.
    truth : Segmentation
        Cavity (papillary muscles inside) and myocardium of every phase, each slice accepted.
    edv_ml, esv_ml, ef_percent, lv_mass_g : float
        Measured on `truth` by summation of discs; the mass at end-diastole with 1.05 g/ml.
    ed_phase, es_phase : int
        Phases of the greatest and the smallest cavity, counted from 0.
    recipe : PhantomRecipe
        What was asked for.
    """

    cine: Cine
    truth: Segmentation
    edv_ml: float
    esv_ml: float
    ef_percent: float
    lv_mass_g: float
    ed_phase: int
    es_phase: int
    recipe: PhantomRecipe


def make_phantom(seed: int = 0, **options: Any) -> Phantom:
    """Simulate a short-axis cine of one beat.

    The left ventricle is a pair of truncated ellipsoids: its wall keeps its volume, so it thickens as the
    cavity empties and the base descends. Papillary muscles, right ventricle, atria, fat, chest wall, lungs,
    liver, stomach, spine and aorta surround it, with balanced-SSFP-like contrast.

    Parameters
    ----------
    seed : int
        Equal seeds and options give equal phantoms.
    **options
        Anything of `PhantomRecipe`.

    Raises
    ------
    ConfigError
        If no heart can be made so.
    """
    recipe = PhantomRecipe(seed, **options)
    rng = np.random.default_rng(seed)
    thorax = Thorax.random(rng)
    shapes = recipe.shapes()
    planes = [_simulate_slice(rng, recipe, thorax, shapes, float(height)) for height in recipe.heights()]
    data = np.stack([image for image, _ in planes], axis=1)
    labels = np.stack([mask for _, mask in planes], axis=1)
    return _with_truth(recipe, _cine(recipe, data), labels)


def _contraction(n_phases: int, es_phase: int) -> NDArray[np.float64]:
    """Course of contraction through the beat: ejection, rapid filling, rest, atrial kick."""
    phase = np.arange(n_phases)
    systole = 0.5 * (1 - np.cos(np.pi * phase / es_phase))
    diastole = (phase - es_phase) / (n_phases - es_phase)
    filled = 0.75 * _smooth_step(diastole / 0.5) + 0.25 * _smooth_step((diastole - 0.7) / 0.3)
    return np.where(phase <= es_phase, systole, 1 - filled)


def _smooth_step(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _simulate_slice(
    rng: np.random.Generator, recipe: PhantomRecipe, thorax: Thorax, shapes: list[HeartShape], height: float
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Images and labels of one slice, both (t, y, x)."""
    canvas, in_field = _field_of_view(rng, recipe, height)
    level = height / recipe.length_mm
    grain = texture(rng, recipe.matrix, 1.2, 0.06) * texture(rng, recipe.matrix, 6.0, 0.10)
    still = thorax.paint(canvas, level) * grain
    near_rows = np.flatnonzero((np.abs(canvas.y) < _HEART_REGION_MM).any(axis=1))
    near_columns = np.flatnonzero((np.abs(canvas.x) < _HEART_REGION_MM).any(axis=0))
    region = (slice(near_rows[0], near_rows[-1] + 1), slice(near_columns[0], near_columns[-1] + 1))
    grid = HeartGrid.around(canvas, region, 0.04, 0.6 + 0.5 * level)
    flow = texture(rng, (len(shapes), *grid.x.shape), 5.0, 0.05)
    third = recipe.slice_distance_mm / 3
    labels = np.zeros((len(shapes), *recipe.matrix), dtype=np.uint8)
    signal = np.repeat(still[None].astype(np.float32), len(shapes), axis=0)
    for phase, shape in enumerate(shapes):
        # A slice is thick: the picture averages three planes in it, the truth is the middle one.
        painted = [paint_heart(still[region], grid, shape, height + step) for step in (-third, 0.0, third)]
        heart = np.mean(painted, axis=0, dtype=np.float32)
        signal[phase][region] = heart + (heart - still[region]) * (flow[phase] - 1)
        labels[phase][region] = heart_labels(grid, shape, height)
    return _acquire(rng, recipe, signal, coil_sensitivity(canvas, recipe.bias), in_field), labels


def _field_of_view(
    rng: np.random.Generator, recipe: PhantomRecipe, height: float
) -> tuple[Canvas, NDArray[np.bool_]]:
    """Place one slice's pixels around the LV axis, and mark the round field that holds signal, (y, x)."""
    n_rows, n_columns = recipe.matrix
    row, column = np.mgrid[:n_rows, :n_columns].astype(np.float32)
    radius = np.hypot(row - (n_rows - 1) / 2, column - (n_columns - 1) / 2)
    shift = rng.normal(0, recipe.misalignment_mm, 2).astype(np.float32)
    drift = np.float32(0.06 * (height - recipe.length_mm / 2))
    x = (column - 0.49 * n_columns) * recipe.pixel_mm - shift[0] + drift
    y = (row - 0.45 * n_rows) * recipe.pixel_mm - shift[1] + 0.5 * drift
    return Canvas(x, y, recipe.pixel_mm), radius < _FIELD_RADIUS * min(recipe.matrix)


def _acquire(
    rng: np.random.Generator,
    recipe: PhantomRecipe,
    signal: NDArray[np.float32],
    coil: Plane,
    in_field: NDArray[np.bool_],
) -> NDArray[np.int16]:
    """Blur, shade and add Rician noise, as a receiver does; (t, y, x)."""
    blurred = ndimage.gaussian_filter(signal, (0, 0.45, 0.45)) * coil
    real, imaginary = recipe.noise * rng.standard_normal((2, *signal.shape), dtype=np.float32)
    magnitude = np.hypot(blurred + real, imaginary) * in_field
    return np.asarray(np.clip(np.rint(_BLOOD_SIGNAL * magnitude), 0, 32767), dtype=np.int16)


def _cine(recipe: PhantomRecipe, data: NDArray[np.int16]) -> Cine:
    n_phases, n_slices = data.shape[:2]
    interval = 60000.0 / recipe.heart_rate
    phase, z = np.mgrid[:n_phases, :n_slices]

    def uid(*parts: object) -> str:
        return str(generate_uid(entropy_srcs=[repr(recipe), *map(str, parts)]))

    frames = FrameTable(
        np.array([[uid("frame", t, s) for s in range(n_slices)] for t in range(n_phases)]),
        np.ones((n_phases, n_slices), dtype=np.int32),
        (n_phases * (n_slices - 1 - z) + phase + 1).astype(np.int32),
    )
    return Cine(
        data,
        _geometry(recipe),
        phase_times=tuple(round(t * interval / n_phases, 3) for t in range(n_phases)),
        time_source="TriggerTime",
        window=_DISPLAY_WINDOW,
        heart_rate=recipe.heart_rate,
        description="SAX cine phantom",
        patient_id="PHANTOM",
        study_uid=uid("study"),
        series_uid=uid("series"),
        frame_of_reference_uid=uid("frame of reference"),
        frames=frames,
    )


def _geometry(recipe: PhantomRecipe) -> Geometry:
    row = _ROW / np.linalg.norm(_ROW)
    column = _COLUMN - row * (row @ _COLUMN)
    column /= np.linalg.norm(column)
    normal = np.cross(row, column)
    distance, pixel = recipe.slice_distance_mm, recipe.pixel_mm
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack((normal * distance, column * pixel, row * pixel))
    centre = (np.array((recipe.n_slices, *recipe.matrix)) - 1) / 2
    affine[:3, 3] = np.array((35.0, -25.0, 20.0)) - affine[:3, :3] @ centre
    positions = tuple(float(distance * z) for z in range(recipe.n_slices))
    return Geometry(affine, slice_positions=positions)


def _with_truth(recipe: PhantomRecipe, cine: Cine, labels: NDArray[np.uint8]) -> Phantom:
    voxel_ml = float(np.prod(cine.geometry.spacing)) / 1000
    cavity = (labels == 1).sum(axis=(1, 2, 3)) * voxel_ml
    wall = (labels == 2).sum(axis=(1, 2, 3)) * voxel_ml
    ed_phase, es_phase = int(cavity.argmax()), int(cavity.argmin())
    edv, esv = float(cavity[ed_phase]), float(cavity[es_phase])
    states = np.full(labels.shape[:2], SliceState.ACCEPTED, dtype=np.uint8)
    return Phantom(
        cine,
        Segmentation(labels, states=states),
        edv,
        esv,
        100 * (edv - esv) / edv,
        float(wall[ed_phase]) * MYOCARDIAL_DENSITY,
        ed_phase,
        es_phase,
        recipe,
    )
