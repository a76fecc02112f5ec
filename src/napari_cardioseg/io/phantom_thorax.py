"""What surrounds the phantom's heart: chest wall, lungs, liver, stomach, spine, aorta, and the coil."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.io.phantom_canvas import Canvas, Plane

_ANTERIOR = np.array((-0.62, -0.78))
_CHEST_WALL_MM = 78.0


@dataclass(frozen=True)
class Thorax:
    """One patient's surroundings of the heart, drawn from a random generator.

    Parameters
    ----------
    fat_mm : float
        Thickness of the fat under the skin.
    diaphragm_mm : float
        How far below the LV axis the diaphragm runs.
    vessels : (n, 4) float array
        Lung vessels: x, y, radius in mm and brightness.
    waves : (n, 3) float array
        Plane waves whose sum patterns fat and bowel: wave numbers along x and y per mm, and phase.
    phase : float
        Random angle that places the ribs.
    """

    fat_mm: float
    diaphragm_mm: float
    vessels: NDArray[np.float64]
    waves: NDArray[np.float64]
    phase: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Thorax:
        """Draw a patient."""
        n = 70
        vessels = np.column_stack(
            (
                rng.uniform(-60, 125, n),
                rng.uniform(-110, 70, n),
                rng.uniform(0.6, 1.9, n),
                rng.uniform(0.15, 0.65, n),
            )
        )
        turn, number = rng.uniform(0, 2 * math.pi, 9), rng.uniform(0.08, 0.30, 9)
        waves = np.column_stack(
            (number * np.cos(turn), number * np.sin(turn), rng.uniform(0, 2 * math.pi, 9))
        )
        return cls(rng.uniform(9, 16), rng.uniform(36, 42), vessels, waves, rng.uniform(0, 2 * math.pi))

    def paint(self, canvas: Canvas, level: float) -> Plane:
        """Draw a slice, (y, x) in units of blood signal.

        Parameters
        ----------
        canvas : Canvas
            The pixels of the slice.
        level : float
            Height of the slice: 0 at the apex, 1 at the base.
        """
        x, y = canvas.x, canvas.y
        skin, along = self._skin(x, y, level)
        image = np.zeros_like(x)
        canvas.paint(image, skin, 0.80)
        fat = self.fat_mm * (1 + 0.35 * np.sin(along / 37 + self.phase))
        wall = skin + fat
        canvas.paint(image, wall, 0.24)
        ribs = 5.0 - np.hypot(wall + 8, 14 * np.sin(along / 13 + self.phase) + 3)
        canvas.paint(image, -ribs, 0.45)
        chest = wall + 15
        canvas.paint(image, chest, 0.035)
        self._paint_lung_vessels(image, chest, x, y)
        # Fat between the sternum and the right ventricle.
        pattern = self._pattern(x, y)
        pad = canvas.ellipse(-50, -30, 46, 24, -0.8) + 3 * pattern
        canvas.paint(image, np.maximum(chest, pad), 0.45 + 0.12 * pattern)
        self._paint_abdomen(image, canvas, chest, level, pattern)
        _paint_back(image, canvas)
        return image

    def _skin(self, x: Plane, y: Plane, level: float) -> tuple[Plane, Plane]:
        """Signed distance to the skin, and the way along it, both in mm."""
        anterior = _ANTERIOR[0] * x + _ANTERIOR[1] * y
        along = -_ANTERIOR[1] * x + _ANTERIOR[0] * y
        curve = (along - 15) ** 2 / 560 + 2.5 * np.sin(along / 31 + self.phase)
        front = anterior + curve - (_CHEST_WALL_MM + 10 * level)
        return np.maximum(front, np.hypot((x - 30) / 1.15, y - 50) - 165), along

    def _paint_lung_vessels(self, image: Plane, chest: Plane, x: Plane, y: Plane) -> None:
        lung = chest < -2
        for vx, vy, radius, brightness in self.vessels:
            near = (np.abs(x - vx) < 4 * radius) & (np.abs(y - vy) < 4 * radius) & lung
            distance = (x[near] - vx) ** 2 + (y[near] - vy) ** 2
            image[near] += (brightness * np.exp(-distance / (2 * radius**2))).astype(np.float32)

    def _pattern(self, x: Plane, y: Plane) -> Plane:
        kx, ky, phase = self.waves.T.astype(np.float32)
        waves = np.cos(kx * x[..., None] + ky * y[..., None] + phase)
        return np.asarray(waves.sum(axis=-1) / math.sqrt(len(self.waves) / 2), dtype=np.float32)

    def _paint_abdomen(
        self, image: Plane, canvas: Canvas, chest: Plane, level: float, pattern: Plane
    ) -> None:
        x, y = canvas.x, canvas.y
        top = self.diaphragm_mm + 5 * level
        dome = top + (x + 15) ** 2 / 420 - y - 6 * np.cos(x / 40)
        canvas.paint(image, np.maximum(chest, dome), 0.20)
        below = np.maximum(chest, dome + 2.5)
        canvas.paint(image, below, np.clip(0.46 + 0.20 * pattern, 0.12, 0.8))
        liver = np.maximum(below + 2, canvas.ellipse(-58, top + 42, 66, 44, -0.25))
        canvas.paint(image, liver, 0.36)
        for dx, dy, turn in ((-70, 30, 0.6), (-45, 45, -0.4), (-85, 55, 0.1)):
            vein = canvas.ellipse(dx, top + dy, 11, 2.0, turn)
            canvas.paint(image, np.maximum(vein, liver + 3), 0.55)
        stomach = canvas.ellipse(38, top + 32, 27, 15 + 4 * level, 0.35)
        canvas.paint(image, stomach, 0.30)
        canvas.paint(image, stomach + 3, 0.55 + 0.20 * pattern)
        canvas.paint(image, np.maximum(stomach + 3, 30 + top - y), 0.05)
        canvas.paint(image, np.maximum(canvas.ellipse(92, top + 18, 14, 34, 0.35), chest), 0.42)


def coil_sensitivity(canvas: Canvas, strength: float) -> Plane:
    """Sensitivity of the surface coils, (y, x), 1 at the heart; a `strength` of 0 is even."""
    depth = _CHEST_WALL_MM - (_ANTERIOR[0] * canvas.x + _ANTERIOR[1] * canvas.y)
    at_back = np.hypot(canvas.x - 130, canvas.y - 60)
    profile = 0.50 + 1.9 * np.exp(-np.maximum(depth, 0) / 34) + 0.25 * np.exp(-at_back / 40)
    at_heart = 0.50 + 1.9 * math.exp(-_CHEST_WALL_MM / 34) + 0.25 * math.exp(-math.hypot(130, 60) / 40)
    return np.asarray((profile / at_heart) ** strength)


def _paint_back(image: Plane, canvas: Canvas) -> None:
    """Descending aorta (as round and bright as a ventricle) and the spine behind it."""
    canvas.paint(image, canvas.ellipse(74, 66, 15, 15), 0.22)
    canvas.paint(image, canvas.ellipse(74, 66, 12.5, 12.5), 0.95)
    canvas.paint(image, canvas.ellipse(103, 92, 20, 17, 0.6), 0.38)
    canvas.paint(image, canvas.ellipse(126, 108, 9, 9), 1.05)
