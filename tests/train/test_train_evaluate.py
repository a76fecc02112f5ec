import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_cardioseg.domain import (
    LV_SCHEME,
    ConfigError,
    LabelClass,
    LabelledFrame,
    LabelScheme,
    ModelCard,
    drain,
)
from napari_cardioseg.domain.labels import LV_CAVITY, MYOCARDIUM, RV_CAVITY
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.models import build_network
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.predict.preprocess import FIELD_OF_VIEW
from napari_cardioseg.train import evaluate_frames
from napari_cardioseg.train.compare import compare_frames
from napari_cardioseg.train.evaluate import identify, segment_frames, shared_classes


@pytest.fixture
def frames(make_frames):
    """Two patients of four frames each; the myocardium is known on every other one."""
    return make_frames(patients=("B", "A"))


@pytest.fixture
def model():
    """Make a network with chance weights."""
    network = {"name": "unet", "classes": 3, "widths": [4, 8]}
    return Model(build_network(network).eval(), ModelCard("chance", network))


def truths(frames):
    return [f.labels.copy() for f in frames]


def test_a_perfect_result(frames):
    report = compare_frames(frames, truths(frames))
    assert (report["n_patients"], report["n_frames"]) == (2, 8)
    for key, n in (("lv", 8), ("myo", 4)):
        scores = report["classes"][key]
        assert scores["n_slices"] == n
        assert scores["dice_slice_worst"] == scores["dice_volume_mean"] == scores["iou_slice_mean"] == 1
        assert scores["hd95_mm_slice_worst"] == scores["asd_mm_volume_mean"] == 0
        assert scores["volume_bias_percent_mean"] == scores["failures"] == 0
        assert scores["against_rest"]["mean_iou"] == 1
    assert report["pixels"]["pixel_accuracy"] == report["pixels"]["slice_mean"]["mean_iou"] == 1
    assert report["failures"] == []
    json.dumps(report, allow_nan=False)


def test_what_was_not_annotated_is_not_judged(frames):
    # Myocardium everywhere around the cavity: on frames that do not know it this may be right or wrong.
    found = [np.where(f.labels == 0, 2, f.labels).astype(np.uint8) for f in frames]
    partial = [found[i] if 2 not in f.known else f.labels for i, f in enumerate(frames)]
    report = compare_frames(frames, partial)
    assert report["classes"]["myo"]["n_slices"] == report["classes"]["myo"]["against_rest"]["n_frames"] == 4
    assert report["classes"]["myo"]["dice_slice_mean"] == 1
    assert report["classes"]["myo"]["against_rest"]["pixel_accuracy"] == 1
    # All classes together: only frames that know them all. The cavity against the rest: every frame.
    assert report["pixels"]["n_frames"] == 4
    assert report["pixels"]["pixel_accuracy"] == 1
    assert report["classes"]["lv"]["against_rest"]["n_frames"] == 8
    assert report["classes"]["lv"]["against_rest"]["pixel_accuracy"] == 1


def test_pixels_are_those_of_one_matrix_for_all_patients_and_of_one_for_each(frames):
    found = truths(frames)
    first = next(i for i, f in enumerate(frames) if f.patient == "A" and 2 in f.known)
    found[first][:] = 0
    report = compare_frames(frames, found)["pixels"]
    complete = [(f.labels, g) for f, g in zip(frames, found, strict=True) if 2 in f.known]
    right = np.mean([t == g for t, g in complete])
    assert report["pixel_accuracy"] == pytest.approx(right)
    assert report["patient_mean"]["pixel_accuracy"] == pytest.approx(right)
    assert report["patients"]["B"]["pixel_accuracy"] == 1
    assert report["patients"]["A"]["pixel_accuracy"] == pytest.approx(2 * right - 1)
    assert np.array(report["confusion"])[:, 0].sum() == sum((g == 0).sum() for _, g in complete)
    assert report["order"] == ["background", "lv", "myo"]


def test_rows_and_failures_name_their_slice(frames):
    found = truths(frames)
    found[2][:] = 0  # the third frame of patient B, complete
    report = compare_frames(frames, found)
    assert [(r["patient"], r["instance"]) for r in report["slices"] if r["class"] == "lv"] == [
        (name, i) for name in "AB" for i in range(4)
    ]
    (row,) = [r for r in report["slices"] if (r["patient"], r["instance"], r["class"]) == ("B", 2, "lv")]
    assert (row["dice"], row["iou"], row["hd95_mm"], row["asd_mm"]) == (0, 0, None, None)
    assert (row["area_true"], row["area_found"]) == ((frames[2].labels == 1).sum(), 0)
    assert [(f["patient"], f["instance"], f["class"]) for f in report["failures"]] == [
        ("B", 2, "lv"),
        ("B", 2, "myo"),
    ]
    assert report["classes"]["lv"]["n_missed"] == report["patients"]["B"]["lv"]["failures"] == 1
    assert report["patients"]["A"]["lv"]["failures"] == 0


def test_millimetres_are_stated_or_taken_from_the_field_of_view(frames):
    found = [np.roll(labels, 3, axis=1) for labels in truths(frames)]
    assumed = compare_frames(frames, found)
    side = FIELD_OF_VIEW / 64
    assert assumed["pixel_size"] == {
        "mm": [[side, side]],
        "n_frames_assumed": 8,
        "field_of_view_mm": FIELD_OF_VIEW,
    }
    assert assumed["classes"]["lv"]["hd95_mm_slice_mean"] == pytest.approx(3 * side, rel=0.1)
    given = compare_frames(frames, found, pixel_size=(1.5, 1.5))
    assert given["pixel_size"] == {"mm": [[1.5, 1.5]], "n_frames_assumed": 0, "field_of_view_mm": None}
    ratio = given["classes"]["lv"]["asd_mm_slice_mean"] / assumed["classes"]["lv"]["asd_mm_slice_mean"]
    assert ratio == pytest.approx(1.5 / side)
    stating = [replace(f, pixel_size=(1.2, 1.6)) if f.patient == "A" else f for f in frames]
    mixed = compare_frames(stating, found)
    assert mixed["pixel_size"]["mm"] == [[1.2, 1.6], [side, side]]
    assert mixed["pixel_size"]["n_frames_assumed"] == 4
    assert mixed["patients"]["B"] == assumed["patients"]["B"]
    assert mixed["patients"]["A"]["lv"]["hd95_mm_slice_mean"] == pytest.approx(3 * 1.6, rel=0.1)
    again = compare_frames(stating, found, pixel_size=(1.5, 1.5))  # what the caller says overrides it
    assert again == given


def test_a_class_alone_is_measured_against_all_else(frames):
    # As the thesis does it: two classes, the myocardium and the rest, of which the cavity is a part.
    scheme = LabelScheme((MYOCARDIUM,))
    found = [np.where(f.labels == 2, 2, 0).astype(np.uint8) for f in frames]
    report = compare_frames(frames, found, scheme)
    assert report["pixels"]["order"] == ["background", "myo"]
    assert report["pixels"]["n_frames"] == 4
    assert report["pixels"]["pixel_accuracy"] == report["classes"]["myo"]["against_rest"]["iou"] == 1


def test_classes_are_matched_by_their_keys(frames, model):
    turned = LabelScheme((replace(MYOCARDIUM, value=1), replace(LV_CAVITY, value=2)))
    other = replace(model, card=replace(model.card, scheme=turned))
    # The same network whose channels mean the reverse: its labels swap, value for value.
    options = PredictOptions(device="cpu", tta=False, clean_up=False)
    plain = drain(segment_frames(frames, model, options))
    swapped = drain(segment_frames(frames, other, options))
    for a, b in zip(plain, swapped, strict=True):
        np.testing.assert_array_equal(a, np.array([0, 2, 1], np.uint8)[b])


def test_frames_keep_their_order_and_progress_counts_them(frames, model):
    options = PredictOptions(device="cpu", tta=False)
    seen = []
    together = drain(segment_frames(frames, model, options), seen.append)
    for patient in "AB":
        stack = [i for i, f in enumerate(frames) if f.patient == patient]
        alone = drain(segment_frames([frames[i] for i in stack], model, options))
        for i, labels in zip(stack, alone, strict=True):
            np.testing.assert_array_equal(together[i], labels)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert {p.total for p in seen} == {8}


def test_evaluating_is_segmenting_and_comparing(frames, model):
    options = PredictOptions(device="cpu", tta=False)
    report = drain(evaluate_frames(frames, model, options, pixel_size=(1.2, 1.2)))
    found = drain(segment_frames(frames, model, options, pixel_size=(1.2, 1.2)))
    compared = compare_frames(frames, found, pixel_size=(1.2, 1.2))
    assert report == {"model": "chance", "trained_on": [], **compared}


def test_a_model_that_knows_the_patients_is_found_out(frames, model):
    taught = replace(model, card=replace(model.card, training={"patients": ["B", "C"]}))
    assert identify(taught, frames) == {"model": "chance", "trained_on": ["B"]}


def test_frames_of_another_size_are_a_stack_of_their_own(frames, model):
    options = PredictOptions(device="cpu", tta=False)
    alone = drain(segment_frames(frames, model, options))
    wide = LabelledFrame("A", 0, np.tile(frames[0].image, 2), np.tile(frames[0].labels, 2), frozenset({1}))
    coarse = replace(frames[0], instance=9, pixel_size=(9.0, 9.0))
    found = drain(segment_frames([wide, *frames, coarse], model, options))
    assert [labels.shape for labels in found] == [f.image.shape for f in (wide, *frames, coarse)]
    for labels, expected in zip(found[1:-1], alone, strict=True):
        np.testing.assert_array_equal(labels, expected)
    assert drain(evaluate_frames([wide, *frames], model, options))["n_frames"] == len(frames) + 1


def test_what_cannot_be_evaluated_is_said(frames, model):
    with pytest.raises(ConfigError, match="no labelled frames"):
        drain(evaluate_frames([], model))
    stranger = replace(model, card=replace(model.card, scheme=LabelScheme((RV_CAVITY,))))
    with pytest.raises(ConfigError, match="finds RV cavity, but the frames show LV cavity, myocardium"):
        shared_classes(stranger, LV_SCHEME)
    tumour = LabelScheme((*LV_SCHEME, LabelClass(9, "scar", "scar", (1, 1, 1))))
    assert [c.key for c in shared_classes(model, tumour)] == ["lv", "myo"]


@pytest.mark.sunnybrook
def test_hearts_one_pixel_too_large_are_one_pixel_away(sunnybrook):
    frames = read_frames(sunnybrook / "frames", ["SC-HF-I-01", "SC-N-03"])
    found = []
    for f in frames:
        cavity = ndimage.binary_dilation(f.labels == 1)
        found.append(np.where(cavity, 1, np.where(f.labels == 2, 2, 0)).astype(np.uint8))
    report = compare_frames(frames, found)
    pixel = FIELD_OF_VIEW / 256
    scores = report["classes"]["lv"]
    assert scores["n_slices"] == len(frames)
    assert scores["asd_mm_slice_mean"] == pytest.approx(pixel, rel=0.1)
    assert scores["hd95_mm_slice_mean"] == pytest.approx(pixel, rel=0.1)
    for patient in report["patients"].values():
        assert patient["lv"]["asd_mm_volume"] == pytest.approx(pixel, rel=0.1)
        assert patient["lv"]["volume_bias_percent"] > 0
        assert patient["lv"]["dice_volume"] > 0.85
    assert scores["failures"] == 0 < report["classes"]["myo"]["n_slices"] < scores["n_slices"]
    assert report["pixels"]["n_frames"] == sum(2 in f.known for f in frames)
