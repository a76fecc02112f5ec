import numpy as np
import pytest

from napari_cardioseg.quantify.confusion import (
    PIXEL_MEASURES,
    against_rest,
    class_dice,
    class_iou,
    confusion_matrix,
    frequency_weighted_iou,
    mean_dice,
    mean_iou,
    mean_pixel_accuracy,
    pixel_accuracy,
)

# Truth in rows: 8 pixels of background, 4 of class 1, 4 of class 2.
MATRIX = np.array([[6, 1, 1], [0, 3, 1], [2, 0, 2]])


@pytest.fixture
def labels():
    rng = np.random.default_rng(3)
    return rng.integers(0, 3, (2, 20, 30)), rng.choice(3, (2, 20, 30), p=(0.6, 0.3, 0.1))


def test_rows_are_the_truth_and_columns_what_was_found():
    matrix = confusion_matrix(np.array([[0, 0, 1], [2, 2, 2]]), np.array([[0, 1, 1], [2, 0, 0]]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


def test_measures_of_a_matrix_worked_out_by_hand():
    assert pixel_accuracy(MATRIX) == pytest.approx(11 / 16)
    assert mean_pixel_accuracy(MATRIX) == pytest.approx((6 / 8 + 3 / 4 + 2 / 4) / 3)
    assert class_iou(MATRIX) == pytest.approx([6 / 10, 3 / 5, 2 / 6])
    assert mean_iou(MATRIX) == pytest.approx((6 / 10 + 3 / 5 + 2 / 6) / 3)
    assert frequency_weighted_iou(MATRIX) == pytest.approx((8 * 6 / 10 + 4 * 3 / 5 + 4 * 2 / 6) / 16)
    assert class_dice(MATRIX) == pytest.approx([12 / 16, 6 / 8, 4 / 8])
    assert mean_dice(MATRIX) == pytest.approx((12 / 16 + 6 / 8 + 4 / 8) / 3)


def test_measures_agree_with_sets_of_pixels(labels):
    truth, found = labels
    sets = [(set(np.flatnonzero(truth == i)), set(np.flatnonzero(found == i))) for i in range(3)]
    ious = [len(t & f) / len(t | f) for t, f in sets]
    dices = [2 * len(t & f) / (len(t) + len(f)) for t, f in sets]
    expected = {
        "pixel_accuracy": np.mean(truth == found),
        "mean_pixel_accuracy": np.mean([len(t & f) / len(t) for t, f in sets]),
        "mean_iou": np.mean(ious),
        "frequency_weighted_iou": np.average(ious, weights=[len(t) for t, _ in sets]),
        "mean_dice": np.mean(dices),
    }
    matrix = confusion_matrix(truth, found, 3)
    assert {name: measure(matrix) for name, measure in PIXEL_MEASURES.items()} == pytest.approx(expected)
    # Both are made of the same pixels.
    assert class_dice(matrix) == pytest.approx(2 * class_iou(matrix) / (1 + class_iou(matrix)))


def test_a_class_against_the_rest_is_the_matrix_of_its_mask(labels):
    truth, found = labels
    merged = against_rest(confusion_matrix(truth, found, 3), 2)
    assert merged.tolist() == confusion_matrix(truth == 2, found == 2, 2).tolist()


def test_a_class_that_is_nowhere_has_no_measure_and_no_say_in_means():
    matrix = np.array([[5, 1, 0], [1, 3, 0], [0, 0, 0]])
    assert np.isnan(class_iou(matrix)[2])
    assert np.isnan(class_dice(matrix)[2])
    for measure in PIXEL_MEASURES.values():
        assert measure(matrix) == pytest.approx(measure(matrix[:2, :2]))


def test_a_class_found_where_it_is_not_counts_against_the_means():
    matrix = np.array([[5, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert class_iou(matrix)[2] == 0
    assert mean_iou(matrix) == pytest.approx((5 / 6 + 1 + 0) / 3)
    assert mean_pixel_accuracy(matrix) == pytest.approx((5 / 6 + 1) / 2)  # nothing of it was missed


def test_nothing_at_all_has_no_measure():
    assert all(np.isnan(measure(np.zeros((3, 3), int))) for measure in PIXEL_MEASURES.values())


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [([0, 3], [0, 0], "from 0 to 2"), ([0, -1], [0, 0], "from 0 to 2"), ([0], [0, 1], "cannot be compared")],
)
def test_labels_that_do_not_fit_are_refused(truth, found, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(truth), np.array(found), 3)
