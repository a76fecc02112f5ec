"""Painting tissue on a plane whose pixels know where they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Plane = NDArray[np.floating]


@dataclass(frozen=True)
class Canvas:
    """Position of each pixel from the LV axis in mm, x and y (y, x) each, and the pixel size.

    Borders are signed distances in mm, negative inside, and are smoothed over one pixel.
    """

    x: Plane
    y: Plane
    pixel_mm: float

    def cover(self, distance: Plane) -> Plane:
        """Part of each pixel inside a border, 0 to 1."""
        return np.asarray(np.clip(0.5 - distance / self.pixel_mm, 0, 1))

    def paint(self, image: Plane, distance: Plane, value: float | Plane) -> None:
        """Fill the inside of a border, in place."""
        blend(image, self.cover(distance), value)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> Plane:
        """Signed distance to an ellipse (first order), its first axis turned by `turn` rad."""
        c, s = math.cos(turn), math.sin(turn)
        u, v = self.x - cx, self.y - cy
        return np.asarray((np.hypot((c * u + s * v) / rx, (c * v - s * u) / ry) - 1) * min(rx, ry))


def blend(image: Plane, cover: Plane, value: float | Plane) -> None:
    """Bring an image towards a value where it is covered, in place."""
    image += cover * (value - image)


def texture(rng: np.random.Generator, shape: tuple[int, ...], scale_px: float, amount: float) -> Plane:
    """Draw a smooth random field around 1, (..., y, x), of the given grain (pixels) and deviation."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    sigma = (0.0,) * (len(shape) - 2) + (scale_px, scale_px)
    field = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    return np.asarray(1 + amount * field / max(float(field.std()), 1e-6))
