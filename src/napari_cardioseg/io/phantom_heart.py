"""The phantom's beating heart: shapes that hold the asked volumes, and their picture in one slice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.io.phantom_canvas import Canvas, Plane, blend

MYOCARDIAL_DENSITY = 1.05
_TRUNCATION = 0.30
_APICAL_WALL_MM = 8.0
_RV_WALL_MM = 3.5
_TRABECULAE_MM = 1.3
_RV_APEX = 0.20
# Signal of balanced SSFP at 1.5 T relative to blood, as seen in clinical short-axis cines.
BLOOD, MYOCARDIUM, FAT = 1.0, 0.30, 0.85


@dataclass(frozen=True)
class HeartShape:
    """The left ventricle at one instant: two coaxial truncated ellipsoids that share the basal plane.

    Heights count in mm from the epicardial apex (0) to the basal plane (`length_mm`). The apex stays in
    place through the beat and the base moves towards it, as in a real heart.

    Parameters
    ----------
    cavity_ml, wall_ml : float
        Volumes that the shape holds exactly.
    length_mm : float
        Height of the basal plane.
    apical_wall_mm : float
        Thickness of the myocardium at the apex.
    contraction : float
        0 at end-diastole, 1 at end-systole.
    """

    cavity_ml: float
    wall_ml: float
    length_mm: float
    apical_wall_mm: float
    contraction: float

    @classmethod
    def at(
        cls,
        contraction: float,
        *,
        edv_ml: float,
        esv_ml: float,
        wall_ml: float,
        length_mm: float,
        descent_mm: float,
    ) -> HeartShape:
        """Shape at a given `contraction`, its basal plane lowered by that part of `descent_mm`."""
        cavity = edv_ml - contraction * (edv_ml - esv_ml)
        apical_wall = _APICAL_WALL_MM * (1.0 + 0.25 * contraction)
        return cls(cavity, wall_ml, length_mm - contraction * descent_mm, apical_wall, contraction)

    @property
    def cavity_radius_mm(self) -> float:
        """Greatest radius of the cavity."""
        return _radius(self.cavity_ml, self.length_mm - self.apical_wall_mm)

    @property
    def epicardial_radius_mm(self) -> float:
        """Greatest radius of the outer border."""
        return _radius(self.cavity_ml + self.wall_ml, self.length_mm)

    def cavity_radius_at(self, height: float) -> float:
        """Radius of the cavity at a height in mm; 0 outside it."""
        length = self.length_mm - self.apical_wall_mm
        return self.cavity_radius_mm * _profile(height - self.apical_wall_mm, length)

    def epicardial_radius_at(self, height: float) -> float:
        """Radius of the outer border at a height in mm; 0 outside it."""
        return self.epicardial_radius_mm * _profile(height, self.length_mm)


def _radius(volume_ml: float, length: float) -> float:
    # An ellipsoid of semi-axes r, r, c from its tip to a plane at k * c beyond its equator holds
    # pi r^2 c (2/3 + k - k^3/3); its length is c (1 + k).
    k = _TRUNCATION
    semi_axis = length / (1 + k)
    return math.sqrt(1000 * volume_ml / (math.pi * semi_axis * (2 / 3 + k - k**3 / 3)))


def _profile(height: float, length: float) -> float:
    if not 0 < height <= length:
        return 0.0
    semi_axis = length / (1 + _TRUNCATION)
    return math.sqrt(max(0.0, 1 - ((height - semi_axis) / semi_axis) ** 2))


@dataclass(frozen=True)
class HeartGrid(Canvas):
    """A canvas with polar coordinates around the LV axis: radius in mm and angle, (y, x) each.

    The slice's own outline (slightly oval, as hearts are) scales the radius, so that a circle of the
    same area becomes that outline.
    """

    radius: Plane
    angle: Plane

    @classmethod
    def around(
        cls, canvas: Canvas, region: tuple[slice, slice], ovality: float, direction: float
    ) -> HeartGrid:
        """Cut the `region` of a canvas around a heart that is oval by `ovality` along `direction` (rad)."""
        x, y = canvas.x[region], canvas.y[region]
        angle = np.arctan2(y, x)
        second, third = np.cos(2 * (angle - direction)), 0.3 * np.cos(3 * angle - direction)
        # The mean square of the outline is divided out, so that it changes no area.
        outline = (1 + ovality * (second + third)) / math.sqrt(1 + 0.5 * ovality**2 * 1.09)
        return cls(x, y, canvas.pixel_mm, np.hypot(x, y) / outline, angle)


def heart_labels(grid: HeartGrid, shape: HeartShape, height: float) -> NDArray[np.uint8]:
    """Label one slice, (y, x): 1 where a pixel's centre is in the LV cavity, 2 in the myocardium, else 0."""
    labels = np.zeros(grid.radius.shape, dtype=np.uint8)
    labels[grid.radius < shape.epicardial_radius_at(height)] = 2
    labels[grid.radius < shape.cavity_radius_at(height)] = 1
    return labels


def paint_heart(surroundings: Plane, grid: HeartGrid, shape: HeartShape, height: float) -> Plane:
    """Draw the heart at a height in mm over its surroundings, (y, x) in units of blood signal."""
    image = surroundings.copy()
    above = height - shape.length_mm
    epicardium = shape.epicardial_radius_at(height)
    outer = epicardium if above <= 0 else max(0.0, 0.92 * shape.epicardial_radius_mm - 0.25 * above)
    if outer <= 0:
        return image
    ventricle = grid.radius - outer
    right = _right_ventricle(grid, shape, height, outer)
    heart = ventricle if right is None else np.minimum(ventricle, right - _RV_WALL_MM)
    # Epicardial fat, most on the right, with the dark rim that fat and water in one voxel give.
    fat = grid.cover(heart - 1.8 - 2.7 * np.cos(grid.angle / 2 - 1.75) ** 4)
    blend(image, fat, FAT * (0.70 + 0.15 * np.cos(5 * grid.angle + 0.3 * height)))
    rim = 1 - 0.45 * np.exp(-((heart / 0.9) ** 2))
    if above > 0:
        image *= rim
        _paint_atria(image, grid, outer, right)
        return image
    blend(image, grid.cover(heart), MYOCARDIUM)
    image *= rim
    if right is not None:
        trabeculae = 1.2 * np.sin(7 * grid.angle + 0.4 * height)
        blend(image, grid.cover(right + trabeculae) * (1 - grid.cover(ventricle)), 0.92 * BLOOD)
    blend(image, grid.cover(ventricle), MYOCARDIUM)
    cavity = shape.cavity_radius_at(height)
    if cavity > 0:
        # The reader's line runs outside the trabeculae, which darken the outermost blood.
        depth = min(_TRABECULAE_MM, 0.15 * cavity) * (1 + 0.5 * np.sin(11 * grid.angle + height))
        inside = grid.cover(grid.radius - cavity + depth)
        blend(image, inside, BLOOD)
        _paint_papillary_muscles(image, grid, shape, height, cavity)
    return image


def _right_ventricle(grid: HeartGrid, shape: HeartShape, height: float, outer: float) -> Plane | None:
    """Signed distance to the ellipse whose part outside the LV is the RV cavity; None below its apex."""
    level = height / shape.length_mm
    if level <= _RV_APEX:
        return None
    size = math.sqrt(1 - ((min(level, 1.0) - 1) / (1 - _RV_APEX)) ** 2)
    squeeze = shape.contraction
    turn = math.radians(168)
    distance = outer * (0.62 + 0.20 * size)
    return grid.ellipse(
        distance * math.cos(turn),
        distance * math.sin(turn),
        outer * 0.92 * size * (1 - 0.20 * squeeze),
        outer * 1.12 * size * (1 - 0.10 * squeeze),
        turn,
    )


def _paint_papillary_muscles(
    image: Plane, grid: HeartGrid, shape: HeartShape, height: float, cavity: float
) -> None:
    level = height / shape.length_mm
    if not 0.28 < level < 0.66:
        return
    size = (5.0 + 0.8 * shape.contraction) * math.sin(math.pi * (level - 0.28) / 0.38) ** 0.5
    size = min(size, 0.3 * cavity)
    inside = grid.cover(grid.radius - cavity)
    for degrees, stretch in ((-38.0, 1.25), (112.0, 1.1)):
        turn = math.radians(degrees + 8 * shape.contraction)
        distance = cavity - 1.45 * size
        muscle = grid.ellipse(
            distance * math.cos(turn), distance * math.sin(turn), size * stretch, size / stretch, turn
        )
        blend(image, grid.cover(muscle) * inside, MYOCARDIUM * 1.05)


def _paint_atria(image: Plane, grid: HeartGrid, outer: float, right: Plane | None) -> None:
    """Atria and aortic root above the base: thin-walled blood in fat, so that no ventricle is seen there."""
    left = grid.ellipse(0.30 * outer, 0.26 * outer, 0.86 * outer, 0.56 * outer, 0.45)
    root = grid.ellipse(-0.28 * outer, -0.36 * outer, 0.38 * outer, 0.36 * outer)
    chambers = [(left, 0.86), (root, 0.95)] if right is None else [(right, 0.88), (left, 0.86), (root, 0.95)]
    for border, blood in chambers:
        blend(image, grid.cover(border - 2.2), MYOCARDIUM)
        blend(image, grid.cover(border), blood * BLOOD)
