import numpy as np
import pytest

from napari_cardioseg.quantify.overlap import dice, iou


def test_overlap_of_shifted_squares():
    a, b = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    a[:4, :4] = True
    b[:4, 2:6] = True
    assert dice(a, b) == pytest.approx(0.5)
    assert iou(a, b) == pytest.approx(8 / 24)


def test_two_empty_masks_agree_and_one_empty_mask_does_not():
    empty, full = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    assert dice(empty, empty) == iou(empty, empty) == 1
    assert dice(empty, full) == iou(full, empty) == 0
