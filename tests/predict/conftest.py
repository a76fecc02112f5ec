"""A network whose answer is known: what is bright is cavity, what is less bright is myocardium."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cardioseg.domain import LV_SCHEME, ModelCard, Preprocessing
from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.predict import Model


class Threshold(SegmentationNetwork):
    """Logits from where each pixel lies between its image's darkest and brightest."""

    classes = 3
    stride = 8
    reach = 0

    def forward(self, images):
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        level = (images - low) / (high - low).clamp(min=1e-6)
        cavity = 100 * (level - 0.7)
        myocardium = torch.minimum(100 * (level - 0.2), -cavity)
        return torch.cat((torch.zeros_like(level), cavity, myocardium), 1)


@pytest.fixture
def threshold_model():
    return Model(Threshold().eval(), ModelCard("threshold", {}, LV_SCHEME, Preprocessing(spacing=1.3)))


@pytest.fixture
def disc():
    """Give a function that draws a bright disc in a dim ring, and its labels."""

    def draw(shape=(160, 160), centre=(80, 80), inner=10.0, outer=16.0, bright=1000, dim=400):
        y, x = np.ogrid[: shape[0], : shape[1]]
        r = np.hypot(y - centre[0], x - centre[1])
        image = np.where(r <= inner, bright, np.where(r <= outer, dim, 0)).astype(np.int16)
        return image, np.where(r <= inner, 1, np.where(r <= outer, 2, 0)).astype(np.uint8)

    return draw
