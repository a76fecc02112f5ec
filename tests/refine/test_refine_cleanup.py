import numpy as np

from napari_cardioseg.domain import LV_SCHEME
from napari_cardioseg.refine import clean_up


def ring(side=64, centre=(32, 32), inner=8, outer=12):
    y, x = np.ogrid[:side, :side]
    r = np.hypot(y - centre[0], x - centre[1])
    return np.where(r <= inner, 1, np.where(r <= outer, 2, 0)).astype(np.uint8)


def evidence_of(frames):
    return (frames > 0).sum(axis=0).astype(float)


def test_the_heart_that_most_frames_see_stays_even_if_another_is_larger():
    heart = ring()
    fooled = heart.copy()
    stomach = ring(centre=(12, 50), inner=10, outer=14)
    fooled[stomach > 0] = stomach[stomach > 0]
    frames = np.stack([heart, heart, heart, fooled])
    cleaned = clean_up(frames, evidence_of(frames), LV_SCHEME)
    np.testing.assert_array_equal(cleaned[3], heart)


def test_holes_are_filled_with_what_surrounds_them():
    heart = ring()
    holed = heart.copy()
    holed[31:34, 31:34] = 0  # in the cavity
    holed[32, 42] = 0  # in the wall
    cleaned = clean_up(holed[None], evidence_of(heart[None]), LV_SCHEME)
    np.testing.assert_array_equal(cleaned[0], heart)


def test_a_speck_of_cavity_in_the_wall_becomes_wall():
    heart = ring()
    specked = heart.copy()
    specked[32, 42] = 1
    np.testing.assert_array_equal(clean_up(specked[None], evidence_of(heart[None]), LV_SCHEME)[0], heart)


def test_clean_masks_and_empty_frames_stay_as_they_are():
    frames = np.stack([ring(), np.zeros((64, 64), np.uint8), ring(inner=3, outer=6)])
    before = frames.copy()
    np.testing.assert_array_equal(clean_up(frames, evidence_of(frames), LV_SCHEME), before)
    np.testing.assert_array_equal(frames, before)


def test_a_wall_in_two_arcs_keeps_both():
    heart = ring()
    parted = heart.copy()
    parted[:, 30:35][heart[:, 30:35] == 2] = 0  # the wall is open above and below
    cleaned = clean_up(parted[None], evidence_of(heart[None]), LV_SCHEME)
    np.testing.assert_array_equal(cleaned[0], parted)


def test_a_speck_is_no_ventricle_but_a_small_one_is():
    speck, tip = np.zeros((2, 64, 64), np.uint8)
    speck[30:33, 30:33] = 2
    tip[30:34, 30:34] = 1
    cleaned = clean_up(np.stack([speck, tip]), evidence_of(ring()[None]), LV_SCHEME)
    assert not cleaned[0].any()
    np.testing.assert_array_equal(cleaned[1], tip)
