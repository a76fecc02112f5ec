"""Even out a coil's sensitivity by N4 (Tustison et al., IEEE Trans. Med. Imaging 29, 2010), of SimpleITK."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import ConfigError

_SHRUNK = 64  # pixels: the field is smooth, so a coarse image tells it as well and sixteen times as fast
_SMALLEST = 16  # pixels: with less there are no pixels to fit a field to


def correct_bias(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Divide an image by the smooth multiplicative field that N4 finds in it.

    The field is fitted where the image is brighter than Otsu's threshold, and carried on to the rest. One
    slice of a chest has too many tissues to tell a strong field from them: over an even body most of it goes,
    but of one laid over Sunnybrook frames a twentieth. `Augmentation.bias` makes a network heed it less.

    Parameters
    ----------
    image : (y, x) array
        In any unit; what lies below zero is taken for zero.

    Returns
    -------
    (y, x) float32 array

    Raises
    ------
    ConfigError
        If SimpleITK is not installed.
    """
    sitk = _simple_itk()
    pixels = np.nan_to_num(np.asarray(image, dtype=np.float32)).clip(min=0)
    if min(pixels.shape) < _SMALLEST or pixels.max() <= pixels.min():
        return pixels
    whole = sitk.GetImageFromArray(pixels)
    small = sitk.Shrink(whole, [max(round(n / _SHRUNK), 1) for n in whole.GetSize()])
    body = sitk.OtsuThreshold(small, 0, 1)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(small, body)
    field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole))
    corrected: NDArray[np.float32] = (pixels / np.exp(field)).astype(np.float32)
    return corrected


def _simple_itk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise ConfigError(
            "This model corrects the coil's bias field (n4), for which SimpleITK is not installed; "
            'install it with: pip install "napari-cardioseg[n4]".'
        ) from error
    return SimpleITK
