"""How well two masks agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of any one shape, 2 |A and B| / (|A| + |B|); 1 where both are empty.

    Source: Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945).
    """
    size = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / size if size else 1.0


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union (Jaccard index) of two masks of any one shape; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0
