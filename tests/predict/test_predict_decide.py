"""Labels are chosen for the highest expected Dice."""

from __future__ import annotations

import pytest
import torch

from napari_cardioseg.predict.decide import choose_labels, expected_error


def one_class(foreground):
    """Make (1, 2, y, x) probabilities."""
    return torch.stack((1 - foreground, foreground))[None]


def soft_disc(radius, blur, side=48):
    y, x = torch.meshgrid(torch.arange(side) - side / 2, torch.arange(side) - side / 2, indexing="ij")
    return torch.sigmoid((radius - torch.hypot(y, x)) / blur)


def test_a_sharp_mask_is_what_is_most_probable():
    p = one_class(soft_disc(15.3, 0.05))
    assert torch.equal(choose_labels(p), p.argmax(dim=1))


@pytest.mark.parametrize("blur", [0.5, 1.0, 2.0])
def test_no_other_threshold_has_a_higher_mean_dice_over_truths_drawn_from_the_probabilities(blur):
    foreground = soft_disc(12, blur)
    rng = torch.Generator().manual_seed(0)
    truths = foreground > torch.rand(400, *foreground.shape, generator=rng)

    def mean_dice(mask):
        overlap = (truths & mask).sum(dim=(1, 2))
        return float((2 * overlap / (truths.sum(dim=(1, 2)) + mask.sum())).mean())

    chosen = mean_dice(choose_labels(one_class(foreground))[0] == 1)
    best = max(mean_dice(foreground > t) for t in torch.arange(0.2, 0.65, 0.05).tolist())
    assert chosen > best - 0.002
    if blur == 2.0:
        assert chosen > mean_dice(foreground > 0.5) + 0.002


def test_where_there_may_be_no_heart_at_all_none_is_drawn():
    assert not choose_labels(one_class(0.3 * soft_disc(12, 0.5))).any()


def test_classes_that_meet_share_the_doubt_between_them():
    """A cavity in a ring, both blurred: the outer border moves outwards, the ring stays closed."""
    whole, cavity = soft_disc(20, 2.0), soft_disc(12, 2.0)
    p = torch.stack((1 - whole, cavity * whole, whole * (1 - cavity)))[None]
    labels, plain = choose_labels(p)[0], p.argmax(dim=1)[0]
    assert (labels > 0).sum() > (plain > 0).sum()
    assert set(labels[24].unique_consecutive().tolist()) == {0, 1, 2}
    assert labels[24].unique_consecutive().tolist() == [0, 2, 1, 2, 0]


def test_every_frame_is_judged_by_itself():
    sharp, soft = one_class(soft_disc(12, 0.05)), one_class(soft_disc(12, 3.0))
    together = choose_labels(torch.cat((sharp, soft)))
    assert torch.equal(together[0], choose_labels(sharp)[0])
    assert torch.equal(together[1], choose_labels(soft)[0])


def test_a_blurred_border_is_a_greater_doubt_than_a_sharp_one():
    errors = []
    for blur in (0.05, 1.0, 3.0):
        p = one_class(soft_disc(12, blur))
        labels = choose_labels(p)
        errors.append(float(expected_error(p, labels[:, None] == torch.arange(2)[:, None, None])))
    assert errors[0] < 0.01 < errors[1] < errors[2] < 0.5
