"""One slice with the contour that was drawn and the one that was found."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.measure import find_contours

TRUTH = (0, 255, 0)
FOUND = (255, 0, 255)  # with the green of the truth it adds up to white, where both run

_SIDE = 288  # pixels of each of the two panels
_GAP = 6
_LINE = 1.5
_FINER = 4  # lines are drawn this much finer and averaged, so that they stay thin and smooth
_ROOM = 1.7  # of the window to what it is to show
_LEAST_WINDOW = 64  # pixels

Mask = NDArray[np.bool_]


def draw_slice(image: NDArray[np.generic], truth: Mask, found: Mask, heart: Mask) -> bytes:
    """Draw the surroundings of the heart twice, without and with the contours.

    Parameters
    ----------
    image : (y, x) array
        Intensities.
    truth, found : (y, x) bool array
        Masks whose contours are drawn, half way between the pixels inside and those outside: the true one
        in green, the found one in magenta, white where they coincide.
    heart : (y, x) bool array
        What the window must show besides them.

    Returns
    -------
    bytes
        A PNG file.
    """
    rows, columns = _window(truth | found | heart)
    grey = _grey(image[rows, columns])
    plain = grey.resize((_SIDE, _SIDE * grey.height // grey.width), Image.Resampling.BICUBIC)
    pixels = np.asarray(plain, dtype=np.float64)[..., None].repeat(3, axis=-1)
    lines = [_contour(mask, rows, columns, plain.size)[..., None] for mask in (truth, found)]
    cover = np.maximum(*lines)
    colours = sum(line * np.array(colour) for line, colour in zip(lines, (TRUTH, FOUND), strict=True))
    drawn = pixels * (1 - cover) + np.minimum(colours, 255)
    gap = np.full((pixels.shape[0], _GAP, 3), 255.0)
    both = np.concatenate((pixels, gap, drawn), axis=1).round().clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(both).save(file, "PNG", optimize=True)
    return file.getvalue()


def _window(shown: Mask) -> tuple[slice, slice]:
    """Choose a square around what is shown, within the image."""
    side = min(shown.shape)
    if not shown.any():
        return slice(0, side), slice(0, side)
    spans = [(int(i.min()), int(i.max()) + 1) for i in np.nonzero(shown)]
    widest = max(stop - start for start, stop in spans)
    side = min(max(round(_ROOM * widest), _LEAST_WINDOW), side)
    window = []
    for (start, stop), length in zip(spans, shown.shape, strict=True):
        first = min(max((start + stop - side) // 2, 0), length - side)
        window.append(slice(first, first + side))
    return window[0], window[1]


def _grey(pixels: NDArray[np.generic]) -> Image.Image:
    values = np.nan_to_num(np.asarray(pixels, dtype=np.float64))
    low, high = np.percentile(values, (0.5, 99.5))
    shown = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return Image.fromarray((255 * shown.clip(0, 1)).round().astype(np.uint8))


def _contour(mask: Mask, rows: slice, columns: slice, size: tuple[int, int]) -> NDArray[np.float64]:
    """Draw a mask's contour into its window; gives (y, x) coverage from 0 to 1."""
    width, height = (n * _FINER for n in size)
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    step = np.array((height / (rows.stop - rows.start), width / (columns.stop - columns.start)))
    origin = np.array((rows.start, columns.start))
    # A border of zeros closes contours that reach the image's edge.
    lines = find_contours(np.pad(mask, 1).astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    for line in lines:
        points = (line - 1 - origin + 0.5) * step
        draw.line([(x, y) for y, x in points], fill=255, width=round(_LINE * _FINER), joint="curve")
    small = canvas.resize(size, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255
