import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from napari_cardioseg.domain import ConfigError
from napari_cardioseg.train.losses import (
    LossConfig,
    border_nearness,
    marginal_cross_entropy,
    marginal_dice_loss,
    marginal_log_probabilities,
    pixel_weights,
    segmentation_loss,
)

ALL = torch.tensor([[True, True, True]])
ONLY_CAVITY = torch.tensor([[True, True, False]])
CROSS_ENTROPY, DICE, FOCAL = (
    LossConfig(dice=0.0),
    LossConfig(cross_entropy=0.0),
    LossConfig(cross_entropy=0.0, dice=0.0, focal=1.0),
)


@pytest.fixture
def batch():
    """Give random logits (3, 3, 6, 6), a target with ignored pixels, and all classes known."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 3, 6, 6, generator=rng)
    target = torch.randint(0, 3, (3, 6, 6), generator=rng)
    target[0, :4] = -1
    return logits, target, ALL.expand(3, 3)


def heart(side=48, inner=8, wall=5):
    """Draw a cavity (1) in its wall (2)."""
    r = np.hypot(*(np.indices((side, side)) - side // 2))
    return np.where(r <= inner, 1, np.where(r <= inner + wall, 2, 0))


def sure_of(labels):
    return 50.0 * one_hot(labels, 3).permute(0, 3, 1, 2).float()


def test_with_every_class_known_it_is_the_ordinary_cross_entropy(batch):
    logits, target, known = batch
    torch.testing.assert_close(marginal_log_probabilities(logits, known), logits.log_softmax(1))
    expected = cross_entropy(logits, target, ignore_index=-1)
    torch.testing.assert_close(segmentation_loss(logits, target, known, CROSS_ENTROPY), expected)


def test_class_weights_are_those_of_torch(batch):
    logits, target, known = batch
    how = LossConfig(dice=0.0, class_weights=(0.05, 0.95, 2))
    loss = segmentation_loss(logits, target, known, how, pixel_weights(target, how))
    weight = torch.tensor([0.05, 0.95, 2.0])
    torch.testing.assert_close(loss, cross_entropy(logits, target, weight, ignore_index=-1))


def test_averaged_by_frame_each_frame_weighs_the_same(batch):
    logits, target, known = batch
    target[2] = -1
    frames = [cross_entropy(logits[i : i + 1], target[i : i + 1], ignore_index=-1) for i in (0, 1)]
    by_frame = LossConfig(dice=0.0, average="frame")
    torch.testing.assert_close(segmentation_loss(logits, target, known, by_frame), sum(frames) / 2)
    assert segmentation_loss(logits, target, known, CROSS_ENTROPY) != pytest.approx(float(sum(frames) / 2))


def test_the_focal_loss_is_that_of_the_paper(batch):
    logits, target, known = batch
    p = logits.double().softmax(1).numpy()
    terms = []
    for (b, y, x), channel in np.ndenumerate(target.numpy()):
        if channel >= 0:
            p_t = p[b, channel, y, x]
            terms.append(-((1 - p_t) ** 2) * math.log(p_t))
    focal = segmentation_loss(logits, target, known, FOCAL)
    assert float(focal) == pytest.approx(np.mean(terms), rel=1e-5)
    plain = LossConfig(cross_entropy=0.0, dice=0.0, focal=1.0, gamma=0.0)
    torch.testing.assert_close(
        segmentation_loss(logits, target, known, plain),
        segmentation_loss(logits, target, known, CROSS_ENTROPY),
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_focal_loss_of_a_pixel_that_is_certainly_right_has_a_gradient(gamma):
    logits = torch.tensor([200.0, 0.0, 0.0]).reshape(1, 3, 1, 1).requires_grad_()
    how = LossConfig(cross_entropy=0.0, dice=0.0, focal=1.0, gamma=gamma)
    segmentation_loss(logits, torch.zeros(1, 1, 1, dtype=torch.long), ALL, how).backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))


def test_the_loss_is_the_weighted_sum_of_its_parts(batch):
    logits, target, known = batch
    both = LossConfig(cross_entropy=0.5, dice=2.0, focal=3.0)
    ce, dice, focal = (segmentation_loss(logits, target, known, how) for how in (CROSS_ENTROPY, DICE, FOCAL))
    torch.testing.assert_close(
        segmentation_loss(logits, target, known, both), 0.5 * ce + 2 * dice + 3 * focal
    )


def test_an_unlabelled_class_counts_as_part_of_the_background():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 4)
    p = logits.softmax(1)
    merged = marginal_log_probabilities(logits, ONLY_CAVITY).exp()
    torch.testing.assert_close(merged[:, 0], p[:, 0] + p[:, 2])
    torch.testing.assert_close(merged[:, 1], p[:, 1])
    assert (merged[:, 2] == 0).all()


@pytest.mark.parametrize("how", [CROSS_ENTROPY, DICE, FOCAL, LossConfig(border=10.0, focal=1.0)])
def test_no_gradient_comes_from_ignored_pixels_and_none_tells_unknown_classes_from_background(how):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 16, 16, requires_grad=True)
    target = torch.zeros(2, 16, 16, dtype=torch.long)
    target[:, 5:11, 5:11] = 1
    target[:, :, 8] = -1
    known = ONLY_CAVITY.expand(2, 3)
    segmentation_loss(logits, target, known, how, pixel_weights(target, how)).backward()
    gradient, p = logits.grad, logits.detach().softmax(1)
    assert (gradient[:, :, :, 8] == 0).all()
    assert (gradient[:, :, :, :8] != 0).all()
    # Only their sum is asked for: each rises or falls by its share of it.
    torch.testing.assert_close(gradient[:, 0] / p[:, 0], gradient[:, 2] / p[:, 2], rtol=1e-3, atol=1e-6)


def test_labelled_the_myocardium_is_pushed_down_where_it_is_not():
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    segmentation_loss(logits, torch.zeros(1, 4, 4, dtype=torch.long), ALL, LossConfig()).backward()
    assert (logits.grad[:, 2] > 0).all()
    assert (logits.grad[:, 0] < 0).all()


@pytest.mark.parametrize("how", [CROSS_ENTROPY, DICE, FOCAL, LossConfig(average="frame")])
def test_a_batch_that_is_ignored_whole_teaches_nothing(how):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4), -1)
    loss = segmentation_loss(logits, target, ALL, how, pixel_weights(target, how))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def test_dice_is_zero_for_a_perfect_answer_and_ignores_what_is_unknown():
    target = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    known = ALL.expand(2, 3)
    sure = sure_of(target)
    perfect = marginal_dice_loss(marginal_log_probabilities(sure, known), target, known)
    assert perfect == pytest.approx(0.0, abs=1e-5)
    wrong = marginal_dice_loss(marginal_log_probabilities(sure.roll(1, 1), known), target, known)
    assert wrong > 0.9
    # The same wrong answer costs nothing where only a class that is right was annotated.
    cavity = torch.where(target == 1, 1, 0)
    swapped = sure_of(torch.where(cavity == 1, 1, 2))
    partly = ONLY_CAVITY.expand(2, 3)
    assert segmentation_loss(swapped, cavity, partly, LossConfig()) == pytest.approx(0.0, abs=1e-4)


def test_dice_has_squared_denominators():
    p = torch.tensor([0.6, 0.3])  # of the cavity, at two pixels of which the first is cavity
    log_p = torch.stack((1 - p, p, torch.full_like(p, 1e-9))).log()[None, :, None]
    dice = marginal_dice_loss(log_p, torch.tensor([[[1, 0]]]), ONLY_CAVITY, smooth=0.0)
    assert float(dice) == pytest.approx(1 - 2 * 0.6 / (0.36 + 0.09 + 1))


def test_frame_by_frame_a_small_cavity_weighs_as_much_as_a_large_one():
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[0, 4:28, 4:28] = 1  # found whole
    target[1, 15:18, 15:18] = 1  # missed
    found = torch.where(target == 1, 1, 0)
    found[1] = 0
    known = ONLY_CAVITY.expand(2, 3)
    assert segmentation_loss(sure_of(found), target, known, DICE) == pytest.approx(0.45, abs=0.01)
    pooled = LossConfig(cross_entropy=0.0, per_frame=False)
    assert segmentation_loss(sure_of(found), target, known, pooled) < 0.01


@pytest.mark.parametrize("per_frame", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_gradients_agree_with_finite_differences(gamma, per_frame):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (2, 3, 3))
    weights = torch.rand(2, 3, 3, dtype=torch.float64)
    known = torch.tensor([[True, True, True], [True, True, False]])

    def loss(z):
        # In float64, which the training itself never needs.
        log_p = z.log_softmax(1)
        merged = torch.stack((log_p[1, 0], log_p[1, 2])).logsumexp(0)
        log_p = torch.stack((log_p[0], torch.stack((merged, log_p[1, 1], torch.full_like(merged, -1e4)))))
        dice_loss = marginal_dice_loss(log_p, target, known, per_frame=per_frame)
        return marginal_cross_entropy(log_p, target, weights, gamma=gamma) + dice_loss

    assert torch.autograd.gradcheck(loss, (logits,))
    how = LossConfig(cross_entropy=0.0, focal=1.0, gamma=gamma, per_frame=per_frame)
    alike = segmentation_loss(logits.float(), target, known, how, weights.float())
    torch.testing.assert_close(loss(logits).float(), alike, rtol=1e-5, atol=1e-5)


def test_border_weights_are_those_of_the_equation():
    target = np.zeros((9, 20), dtype=np.int64)
    target[:, 4:8] = target[:, 12:16] = 1  # two objects, four pixels apart
    how = LossConfig(border=10.0, border_sigma=5.0, class_weights=(0.5, 2.0, 1.0))
    weights = pixel_weights(torch.from_numpy(target)[None], how)[0].numpy()
    for x, w_c, d1, d2 in ((9, 0.5, 2, 3), (2, 0.5, 2, 10), (18, 0.5, 3, 11), (5, 2.0, 2, 7)):
        assert weights[4, x] == pytest.approx(w_c + 10 * math.exp(-((d1 + d2) ** 2) / 50), rel=1e-5)
    between, beyond = weights[4, 8:12], np.r_[weights[4, :4], weights[4, 16:]]
    assert between.min() > beyond.max()


def test_borders_agree_with_distances_taken_one_by_one():
    labels = heart(24, 5, 3)
    labels[2:4, 3:6] = 2  # a third object, though not of a third class
    objects = [labels == 1, (labels == 2) & (np.indices(labels.shape)[0] > 3), labels == 2]
    objects[2] = objects[2] & ~objects[1]
    expected = np.zeros(labels.shape)
    places = np.argwhere(np.ones(labels.shape, dtype=bool))
    for y, x in places:
        d = []
        for o in objects:
            other = np.argwhere(o != o[y, x])
            d.append(np.hypot(*(other - (y, x)).T).min())
        d1, d2 = sorted(d)[:2]
        expected[y, x] = math.exp(-((d1 + d2) ** 2) / 50)
    np.testing.assert_allclose(border_nearness(labels, 5.0), expected, rtol=1e-5)


def test_the_endocardium_weighs_most_and_a_thin_wall_more_than_a_thick_one():
    centre, thin, thick = 24, heart(wall=3), heart(wall=8)
    row = border_nearness(thick, 5.0)[centre, centre:]
    assert row.argmax() in (8, 9)  # on either side of the endocardium
    epicardium = {
        name: border_nearness(m, 5.0)[centre, centre + 8 + w]
        for name, m, w in (("thin", thin, 3), ("thick", thick, 8))
    }
    assert epicardium["thin"] > 2 * epicardium["thick"]


def test_a_cavity_alone_has_its_border_weighed_as_if_its_wall_were_drawn():
    whole = heart()
    alone = np.where(whole == 1, 1, 0)
    inside = alone == 1
    np.testing.assert_allclose(
        border_nearness(alone, 5.0)[inside], border_nearness(whole, 5.0)[inside], rtol=0.2
    )
    assert border_nearness(alone, 5.0).max() == pytest.approx(math.exp(-4 / 50))


def test_weights_are_zero_where_ignored_and_an_ignored_region_is_no_border():
    labels = np.where(heart() == 1, 1, 0)
    cut = labels.copy()
    cut[:, :24] = -1  # half of the heart is not to be looked at
    how = LossConfig(border=10.0)
    half, whole = (pixel_weights(torch.from_numpy(m)[None], how)[0] for m in (cut, labels))
    assert (half[:, :24] == 0).all()
    torch.testing.assert_close(half[:, 24:], whole[:, 24:])  # as if nothing had been cut
    full = pixel_weights(torch.from_numpy(np.ones((1, 4, 4), dtype=np.int64)), how)
    assert (full == 1).all()  # no border in view


def test_without_weights_and_borders_there_is_nothing_to_weigh():
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    assert pixel_weights(target, LossConfig()) is None
    assert (pixel_weights(target, LossConfig(border=10.0)) == 1).all()


def test_balanced_weights_are_inverse_to_the_frequency_where_a_class_is_known():
    labels = torch.zeros(2, 10, 10, dtype=torch.uint8)
    labels[:, :2] = 1  # 20 of 100, on both
    labels[1, 2:5] = 2  # 30 of 100, on the one frame that shows it
    labels[0, 9] = 255
    labels[0, :2, :1] = 255  # 18 of 88 on the first
    known = torch.tensor([[True, True, False], [True, True, True]])
    balanced = LossConfig(class_weights="balanced").settled(labels, known)
    cavity, wall = 38 / 188, 0.3
    expected = [1 / (3 * share) for share in (1 - cavity - wall, cavity, wall)]
    assert balanced.class_weights == pytest.approx(expected)
    with pytest.raises(ConfigError, match="none of channel 2"):
        LossConfig(class_weights="balanced").settled(labels[:1], known[:1])


def test_weights_must_be_as_many_as_classes():
    how = LossConfig(class_weights=[0.05, 0.95])
    labels = torch.zeros(1, 2, 2, dtype=torch.uint8)
    assert how.settled(labels, torch.ones(1, 2, dtype=torch.bool)) == how
    assert how.class_weights == (0.05, 0.95)
    with pytest.raises(ConfigError, match="2 class weights, but there are 3 classes"):
        how.settled(labels, ALL)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"dice": -1}, "dice must be at least 0"),
        ({"cross_entropy": 0, "dice": 0}, "more than 0"),
        ({"border": 1, "border_sigma": 0}, "border_sigma"),
        ({"average": "pixel"}, "'pixel'"),
        ({"class_weights": "even"}, "balanced"),
        ({"class_weights": (0.0, 0.0)}, "class_weights"),
        ({"class_weights": (1.0, -1.0)}, "class_weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence):
        LossConfig(**wrong)
