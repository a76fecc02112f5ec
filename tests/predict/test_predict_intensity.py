import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_cardioseg.domain import ConfigError, Preprocessing
from napari_cardioseg.predict.bias_field import correct_bias
from napari_cardioseg.predict.intensity import learn_landmarks, measure, normalise_each
from napari_cardioseg.predict.preprocess import normalise

METHODS = ("zscore", "percentile", "nyul")


@pytest.fixture
def scans():
    """Give a dozen smooth images of three brightnesses; some of their background is exactly 0."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(12, 48, 40)), (0, 4, 4))
    smooth = (smooth / smooth.std() + 1).clip(min=0)
    return (smooth * np.repeat([30.0, 100.0, 300.0], 4)[:, None, None]).astype(np.float32)


@pytest.fixture
def preprocessing(scans):
    """Give a function that makes preprocessing of a method and a scope, with landmarks learnt."""

    def make(method, scope="slice"):
        made = Preprocessing(method=method, scope=scope)
        if method != "nyul":
            return made
        return replace(made, landmarks=tuple(learn_landmarks([[s] for s in scans], made).tolist()))

    return make


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scope", ["slice", "volume", "patient"])
@pytest.mark.parametrize(("factor", "offset"), [(0.05, 0), (20, 0), (3, -500)])
def test_a_rescaled_scan_becomes_the_same(method, scope, factor, offset, scans, preprocessing):
    how = preprocessing(method, scope)
    changed = scans.astype(np.float64) * factor + offset
    np.testing.assert_allclose(normalise(changed, how), normalise(scans, how), atol=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_slices_keep_their_relation_only_in_a_wider_scope(method, scans, preprocessing):
    alone = normalise(scans, preprocessing(method, "slice"))
    together = normalise(scans, preprocessing(method, "volume"))
    assert abs(alone[8:].mean() - alone[:4].mean()) < 0.1
    assert together[8:].mean() > together[:4].mean() + 0.2


def test_each_method_gives_what_it_promises(scans, preprocessing):
    z = normalise(scans, preprocessing("zscore"))
    np.testing.assert_allclose(z.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=(1, 2)), 1, atol=1e-5)
    p = normalise(scans, preprocessing("percentile"))
    np.testing.assert_allclose(p.min(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(p.max(axis=(1, 2)), 1, atol=1e-6)
    n = normalise(scans, preprocessing("nyul"))
    assert abs(n.mean()) < 0.1
    assert 0.9 < n.std() < 1.1


@pytest.mark.parametrize("method", METHODS)
def test_nothing_comes_of_nothing(method, preprocessing):
    how = preprocessing(method)
    assert not normalise(np.full((2, 8, 8), 7.0), how).any()
    assert not normalise_each(torch.full((2, 8, 8), 7.0), how).any()
    broken = np.full((1, 8, 8), np.nan)
    broken[0, 2:6] = 3
    assert np.isfinite(normalise(broken, how)).all()


@pytest.mark.parametrize("method", METHODS)
def test_torch_and_numpy_agree(method, scans, preprocessing):
    how = preprocessing(method)
    coarse = np.concatenate((scans, scans.round(-1), scans.clip(max=60)))  # with levels that are tied
    found = normalise_each(torch.from_numpy(coarse), how)
    np.testing.assert_allclose(found.numpy(), normalise(coarse, how), atol=1e-4)


def test_standard_histograms_coincide_whatever_the_scale_and_the_curve(preprocessing):
    rng = np.random.default_rng(1)
    smooth = ndimage.gaussian_filter(rng.normal(size=(40, 64, 64)), (0, 3, 3))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    plain, curved = list(smooth[:20] * 900), list(np.square(smooth[20:]) * 7 + 100)
    how = Preprocessing(method="nyul", scope="slice")
    learnt = replace(how, landmarks=tuple(learn_landmarks([[s] for s in (*plain, *curved)], how).tolist()))

    def mean_landmarks(images, method):
        standard = normalise(np.stack(images), replace(learnt, method=method))
        return np.percentile(standard, learnt.percentiles, axis=(1, 2)).mean(axis=1)

    np.testing.assert_allclose(mean_landmarks(plain, "nyul"), learnt.landmarks, atol=0.02)
    np.testing.assert_allclose(mean_landmarks(curved, "nyul"), learnt.landmarks, atol=0.02)
    apart = np.abs(mean_landmarks(plain, "zscore") - mean_landmarks(curved, "zscore"))
    assert apart.max() > 0.15  # which z-scores do not undo


def test_a_standard_histogram_goes_on_a_little_beyond_its_ends(preprocessing):
    how = preprocessing("nyul")
    image = np.tile(np.linspace(0, 100, 1000), (10, 1))
    image[0, 0], image[0, 1] = 1e6, -1e6
    found = measure([image], how).apply(image)
    span = how.landmarks[-1] - how.landmarks[0]
    assert found[0, 0] == pytest.approx(how.landmarks[-1] + span / 2, abs=1e-3)
    assert found[0, 1] == pytest.approx(how.landmarks[0] - span / 2, abs=1e-3)
    assert (np.diff(found[1:], axis=1) >= 0).all()


def test_landmarks_must_be_learnt_and_need_something_to_learn_from(scans):
    how = Preprocessing(method="nyul")
    with pytest.raises(ConfigError, match="not learnt"):
        normalise(scans, how)
    with pytest.raises(ConfigError, match="no histogram to learn"):
        learn_landmarks([[np.zeros((4, 4))]], how)


def test_n4_takes_a_coils_sensitivity_away():
    pytest.importorskip("SimpleITK", reason="N4 is SimpleITK's; install the extra n4 to test it")
    y, x = np.mgrid[:128, :128] / 128
    body = np.hypot(y - 0.5, x - 0.5) < 0.42
    image = np.where(body, 200.0, 2.0) + np.random.default_rng(0).normal(0, 2, body.shape)
    seen = image * np.exp(1.2 * (x - 0.5) - 0.8 * np.square(y - 0.3))
    corrected = correct_bias(seen)

    def variation(pixels):
        return pixels[body].std() / pixels[body].mean()

    assert variation(seen) > 0.25
    assert variation(corrected) < 0.25 * variation(seen)
    assert not correct_bias(np.zeros((64, 64))).any()


def test_without_simple_itk_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(ConfigError, match=r"napari-cardioseg\[n4\]"):
        correct_bias(np.ones((64, 64)))
