import pytest
import torch

from napari_cardioseg.train.losses import (
    marginal_cross_entropy,
    marginal_dice_loss,
    marginal_log_probabilities,
    segmentation_loss,
)

ALL = torch.tensor([[True, True, True]])
ONLY_CAVITY = torch.tensor([[True, True, False]])


def test_with_every_class_known_it_is_the_ordinary_cross_entropy():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 5, 5), torch.randint(0, 3, (2, 5, 5))
    log_p = marginal_log_probabilities(logits, ALL.expand(2, 3))
    torch.testing.assert_close(log_p, logits.log_softmax(1))
    torch.testing.assert_close(
        marginal_cross_entropy(log_p, target), torch.nn.functional.cross_entropy(logits, target)
    )


def test_an_unlabelled_class_counts_as_part_of_the_background():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 4)
    p = logits.softmax(1)
    merged = marginal_log_probabilities(logits, ONLY_CAVITY).exp()
    torch.testing.assert_close(merged[:, 0], p[:, 0] + p[:, 2])
    torch.testing.assert_close(merged[:, 1], p[:, 1])
    assert (merged[:, 2] == 0).all()


def test_frames_without_epicardium_do_not_teach_the_myocardium_away():
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    segmentation_loss(logits, target, ONLY_CAVITY).backward()
    gradient = logits.grad
    torch.testing.assert_close(gradient[:, 0], gradient[:, 2])  # background and myocardium rise alike
    logits2 = torch.zeros(1, 3, 4, 4, requires_grad=True)
    segmentation_loss(logits2, target, ALL).backward()
    assert (logits2.grad[:, 2] > logits2.grad[:, 0]).all()  # labelled, the myocardium is pushed down


def test_dice_is_zero_for_a_perfect_answer_and_ignores_what_is_unknown():
    target = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    sure = 50.0 * torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2).float()
    known = ALL.expand(2, 3)
    perfect = marginal_dice_loss(marginal_log_probabilities(sure, known), target, known)
    assert perfect == pytest.approx(0.0, abs=1e-5)
    wrong = marginal_dice_loss(marginal_log_probabilities(sure.roll(1, 1), known), target, known)
    assert wrong > 0.9
    # The same wrong answer costs nothing where only a class that is right was annotated.
    cavity = torch.where(target == 1, 1, 0)
    swapped = (
        50.0 * torch.nn.functional.one_hot(torch.where(cavity == 1, 1, 2), 3).permute(0, 3, 1, 2).float()
    )
    partly = ONLY_CAVITY.expand(2, 3)
    assert segmentation_loss(swapped, cavity, partly) == pytest.approx(0.0, abs=1e-4)


def test_frame_by_frame_a_small_cavity_weighs_as_much_as_a_large_one():
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[0, 4:28, 4:28] = 1  # found whole
    target[1, 15:18, 15:18] = 1  # missed
    found = torch.where(target == 1, 1, 0)
    found[1] = 0
    logits = 50.0 * torch.nn.functional.one_hot(found, 3).permute(0, 3, 1, 2).float()
    known = ONLY_CAVITY.expand(2, 3)
    log_p = marginal_log_probabilities(logits, known)
    assert marginal_dice_loss(log_p, target, known) == pytest.approx(0.45, abs=0.01)
    assert marginal_dice_loss(log_p, target, known, per_frame=False) < 0.01


@pytest.mark.parametrize("per_frame", [True, False])
def test_gradients_agree_with_finite_differences(per_frame):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (2, 3, 3))
    known = torch.tensor([[True, True, True], [True, True, False]])

    def loss(z):
        # In float64, which the training itself never needs.
        log_p = z.log_softmax(1)
        merged = torch.stack((log_p[1, 0], log_p[1, 2])).logsumexp(0)
        log_p = torch.stack((log_p[0], torch.stack((merged, log_p[1, 1], torch.full_like(merged, -1e4)))))
        dice_loss = marginal_dice_loss(log_p, target, known, per_frame=per_frame)
        return marginal_cross_entropy(log_p, target) + dice_loss

    assert torch.autograd.gradcheck(loss, (logits,))
    torch.testing.assert_close(
        loss(logits).float(),
        segmentation_loss(logits.float(), target, known, per_frame=per_frame),
        rtol=1e-5,
        atol=1e-5,
    )
