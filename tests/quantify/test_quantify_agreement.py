import numpy as np
import pytest

from napari_cardioseg.quantify.agreement import Agreement, summarise_patients, summarise_slices
from napari_cardioseg.quantify.overlap import dice, iou


def box(rows, columns, shape=(40, 40)):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


TRUTH = box((10, 20), (10, 20))
MOVED = Agreement.between(TRUTH, box((10, 20), (12, 22)), (1.5, 1.5))  # 2 pixels, 3 mm
EXACT = Agreement.between(TRUTH, TRUTH, (1.5, 1.5))
MISSED = Agreement.between(TRUTH, box((0, 0), (0, 0)), (1.5, 1.5))
SPURIOUS = Agreement.between(box((0, 0), (0, 0)), TRUTH, (1.5, 1.5))


def test_overlap_is_that_of_the_masks():
    found = box((10, 20), (12, 22))
    assert MOVED.dice == dice(TRUTH, found) == pytest.approx(0.8)
    assert MOVED.iou == iou(TRUTH, found) == pytest.approx(80 / 120)
    assert MOVED.hd95_mm == pytest.approx(3)
    assert 0 < MOVED.asd_mm < 3


def test_slices_pooled_are_one_volume_whose_distances_stay_within_the_slices():
    pooled = Agreement.pooled([MOVED, EXACT, MISSED])
    assert pooled.dice == pytest.approx(2 * (80 + 100) / (300 + 200))
    assert pooled.asd_mm == pytest.approx(MOVED.asd_mm / 2)  # both have borders of one length
    assert pooled.bias_percent == pytest.approx(-100 / 3)
    # In three dimensions the slices lie 8 mm apart, and the missed one is that far from the mask beside it.
    stack = np.stack([TRUTH, TRUTH, TRUTH])
    found = np.stack([TRUTH, box((10, 20), (12, 22)), box((0, 0), (0, 0))])
    assert Agreement.between(stack, found, (8.0, 1.5, 1.5)).hd95_mm > 8


def test_a_slice_with_one_mask_fails_and_stays_out_of_mean_distances():
    summary = summarise_slices([EXACT, MOVED, MISSED, SPURIOUS])
    assert (summary["failures"], summary["n_slices"]) == (2, 4)
    assert (summary["n_missed"], summary["n_spurious"]) == (1, 1)
    assert MISSED.hd95_mm is None
    assert SPURIOUS.bias_percent is None
    assert summary["hd95_mm_slice_mean"] == pytest.approx(1.5)
    assert summary["dice_slice_mean"] == pytest.approx((1 + 0.8) / 4)


def test_the_spread_over_slices():
    small = Agreement.between(TRUTH, box((10, 20), (10, 14)), (1.5, 1.5))
    summary = summarise_slices([EXACT, MOVED, small])
    assert summary["dice_slice_median"] == pytest.approx(0.8)
    assert summary["dice_slice_worst"] == pytest.approx(2 * 40 / 140)
    assert summary["hd95_mm_slice_worst"] == small.hd95_mm == pytest.approx(9)
    assert summary["area_bias_pixels_slice_mean"] == pytest.approx(-20)


def test_every_patient_counts_the_same():
    summary = summarise_patients([[EXACT, EXACT, EXACT], [MOVED], []])
    assert summary["dice_patient_mean"] == summary["dice_volume_mean"] == pytest.approx(0.9)
    assert summary["hd95_mm_volume_mean"] == pytest.approx(1.5)
    larger = Agreement.between(TRUTH, box((10, 20), (10, 22)), (1.5, 1.5))
    bias = summarise_patients([[EXACT], [larger]])
    assert bias["volume_bias_percent_mean"] == pytest.approx(10)
    assert bias["volume_bias_percent_sd"] == pytest.approx(np.sqrt(200))


def test_nothing_to_sum_up_gives_none():
    assert summarise_slices([])["dice_slice_mean"] is None
    assert summarise_slices([])["hd95_mm_slice_worst"] is None
    assert set(summarise_patients([[]]).values()) == {None}
