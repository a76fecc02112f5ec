"""One scale of intensities for dark and bright scans: z-scores, percentiles, or a standard histogram.

All methods are relative to what they are measured on, so that a scan times any factor, plus any offset,
becomes the same. The standard histogram (Nyul, Udupa & Zhang, IEEE Trans. Med. Imaging 19, 2000) also undoes
curved scales: it brings a scan's percentiles and deciles to landmarks learnt from the training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cardioseg.domain import ConfigError, Preprocessing

FloatImages = NDArray[np.float32]
Curve = NDArray[np.float64]

# Beyond the outer percentiles a standard histogram goes on at the range's overall slope, by this much of it.
_BEYOND = 0.5


@dataclass(frozen=True, eq=False)
class Scale:
    """How intensities of one scan become a network's.

    Parameters
    ----------
    low, high : float
        Intensities are clipped to these.
    centre, spread : float
        What becomes 0, and what becomes a difference of 1; with a spread of 0 everything becomes 0.
    levels, values : (k,) arrays, optional
        A piecewise linear curve, taken in place of centre and spread.
    """

    low: float
    high: float
    centre: float
    spread: float
    levels: Curve | None = None
    values: Curve | None = None

    def apply(self, images: NDArray[np.generic]) -> FloatImages:
        """Give images of any shape on the network's scale."""
        pixels = _finite(images)
        if self.spread == 0:
            return np.zeros(pixels.shape, dtype=np.float32)
        if self.levels is not None and self.values is not None:
            return np.interp(pixels, self.levels, self.values).astype(np.float32)
        return ((_clipped(pixels, self.low, self.high) - self.centre) / self.spread).astype(np.float32)

    def curve(self) -> tuple[Curve, Curve]:
        """Give the levels and values (k,) of the piecewise linear curve that this is, level at both ends."""
        if self.levels is not None and self.values is not None:
            return self.levels, self.values
        levels = np.array([self.low, self.high], dtype=np.float64)
        return levels, (levels - self.centre) / (self.spread or 1.0)


def measure(images: Sequence[NDArray[np.generic]], preprocessing: Preprocessing) -> Scale:
    """Measure the scale of images (of any shapes) taken together.

    Raises
    ------
    ConfigError
        If a standard histogram is asked for whose landmarks are not learnt.
    """
    pixels = np.concatenate([_finite(image).ravel() for image in images])
    ends = (preprocessing.low_percentile, preprocessing.high_percentile)
    if preprocessing.method == "nyul":
        found = np.percentile(pixels, preprocessing.percentiles).astype(np.float64)
        levels = _beyond(torch.from_numpy(found)).numpy()
        values = _beyond(_landmarks(preprocessing)).numpy()
        # Where background fills several deciles, one intensity has several landmarks: the last counts.
        kept = np.append(np.diff(levels) > 0, True)
        return Scale(levels[0], levels[-1], 0.0, float(np.ptp(found)), levels[kept], values[kept])
    low, high = (float(level) for level in np.percentile(pixels, ends))
    if preprocessing.method == "percentile":
        return Scale(low, high, low, high - low)
    clipped = _clipped(pixels, low, high)
    return Scale(low, high, float(clipped.mean()), float(clipped.std()))


def learn_landmarks(scans: Sequence[Sequence[NDArray[np.generic]]], preprocessing: Preprocessing) -> Curve:
    """Average the shape of the scans' histograms.

    Each scan's percentiles, its range brought to one length, are averaged over scans (Nyul et al. 2000,
    section II-A). The standard scale may be any; here it gives the average scan about zero mean and unit
    standard deviation, which suits networks.

    Parameters
    ----------
    scans : sequence of sequences of arrays
        The images that are measured together, scan by scan; those of one intensity teach nothing.
    preprocessing : Preprocessing
        Which percentiles.

    Returns
    -------
    (11,) float64 array

    Raises
    ------
    ConfigError
        If no scan has more than one intensity.
    """
    shapes = []
    for images in scans:
        pixels = np.concatenate([_finite(image).ravel() for image in images])
        found = np.percentile(pixels, preprocessing.percentiles).astype(np.float64)
        if found[-1] > found[0]:
            shapes.append((found - found[0]) / (found[-1] - found[0]))
    if not shapes:
        raise ConfigError("No image has more than one intensity, so there is no histogram to learn.")
    mean_shape = np.mean(shapes, axis=0)
    # The moments of a histogram that is level between landmarks.
    share = np.diff(preprocessing.percentiles) / np.ptp(preprocessing.percentiles)
    middle, width = (mean_shape[1:] + mean_shape[:-1]) / 2, np.diff(mean_shape)
    centre = float((share * middle).sum())
    variance = float((share * (np.square(middle - centre) + np.square(width) / 12)).sum())
    learnt: Curve = (mean_shape - centre) / np.sqrt(variance)
    return learnt


def normalise_each(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Bring each image of a batch to its own scale, on whatever device it is.

    Parameters
    ----------
    images : (n, y, x) float32 tensor
    preprocessing : Preprocessing
        Its scope is of no matter: every image is measured by itself.

    Returns
    -------
    (n, y, x) float32 tensor
        As `Scale.apply` gives it, to rounding.
    """
    pixels = images.flatten(1)
    if preprocessing.method == "nyul":
        found = _percentiles(pixels, preprocessing.percentiles)
        levels = _beyond(found)
        values = _beyond(_landmarks(preprocessing)).to(images).expand(len(images), -1)
        last_of_equals = torch.searchsorted(levels, levels, right=True) - 1
        result = apply_curves(pixels, levels, values.gather(1, last_of_equals))
        return torch.where(found[:, :1] < found[:, -1:], result, 0.0).view_as(images)
    ends = _percentiles(pixels, (preprocessing.low_percentile, preprocessing.high_percentile))
    low, high = ends[:, :1], ends[:, 1:]
    clipped = pixels.clamp(low, high)
    if preprocessing.method == "percentile":
        centre, spread = low, high - low
    else:
        centre, spread = clipped.mean(1, keepdim=True), clipped.std(1, correction=0, keepdim=True)
    scaled = (clipped - centre) / spread
    return torch.where(high > low, scaled, 0.0).view_as(images)


def apply_curves(pixels: Tensor, levels: Tensor, values: Tensor) -> Tensor:
    """Apply to each row of (n, pixels) its piecewise linear curve of (n, k) levels and values.

    Below the first level and above the last a curve is flat.
    """
    upper = torch.searchsorted(levels.contiguous(), pixels.contiguous(), right=True)
    upper = upper.clamp(1, levels.shape[1] - 1)
    x0, x1 = levels.gather(1, upper - 1), levels.gather(1, upper)
    y0, y1 = values.gather(1, upper - 1), values.gather(1, upper)
    along = torch.where(x1 > x0, (pixels - x0) / (x1 - x0), (pixels >= x1).to(pixels.dtype))
    return y0 + along.clamp(0, 1) * (y1 - y0)


def _finite(images: NDArray[np.generic]) -> FloatImages:
    return np.nan_to_num(np.asarray(images, dtype=np.float32))


def _clipped(pixels: FloatImages, low: float, high: float) -> NDArray[np.float64]:
    return np.clip(pixels.astype(np.float64), low, high)


def _landmarks(preprocessing: Preprocessing) -> Tensor:
    if not preprocessing.landmarks:
        raise ConfigError(
            "Images are to be brought to a standard histogram (nyul), but its landmarks are not learnt; "
            "train the model, or choose another method."
        )
    return torch.tensor(preprocessing.landmarks, dtype=torch.float64)


def _beyond(curve: Tensor) -> Tensor:
    """Lengthen curves (..., k) at both ends."""
    first, last = curve[..., :1], curve[..., -1:]
    extra = _BEYOND * (last - first)
    return torch.cat((first - extra, curve, last + extra), dim=-1)


def _percentiles(pixels: Tensor, percentiles: Sequence[float]) -> Tensor:
    """Give percentiles (n, k) of each row, linear between neighbours as NumPy's; of any number of pixels."""
    places = torch.tensor(percentiles, dtype=torch.float64) / 100 * (pixels.shape[1] - 1)
    below = places.floor().long()
    above = (below + 1).clamp(max=pixels.shape[1] - 1)
    share = (places - below).to(pixels)
    ordered = pixels.sort(dim=1).values
    return ordered[:, below.to(pixels.device)].lerp(ordered[:, above.to(pixels.device)], share)
